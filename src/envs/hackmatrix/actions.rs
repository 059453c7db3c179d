//! The player's action: walk, attack, siphon. (Programs: see [`programs`](super::programs).)

use crate::lang::{Bool, Int, Key, int, int_u64, select};

use super::bits::{all_if, lowest, only_if, read, total};
use super::board::{cross, down, first_along, left, right, surroundings, up};
use super::entities::{DAEMON, VIRUS};
use super::host::layout::{FIRST_PROGRAM, PROGRAMS, SIPHON, STAGES, layout};
use super::programs;
use super::state::{Scene, State, World};

/// What an action did, besides changing the state.
#[derive(Clone, Copy)]
pub struct Deed {
    /// The action could be done; otherwise nothing has changed.
    pub succeeded: Bool,
    pub ends_turn: Bool,
    pub exit_reached: Bool,
    /// A data siphon was walked onto.
    pub pickup: Bool,
    /// Enemies and transmissions removed, without scheduled ones; i32.
    pub kills: Int,
}

/// The set of actions that are valid: rules, section 2.
#[track_caller]
pub fn legal(state: &State, scene: &Scene) -> Int {
    let world = &state.world;
    let open = !world.board.blocks | scene.enemy_cells;
    let player = scene.player.cell;
    let mut actions = int_u64(0);
    for (action, next) in [up(player), down(player), left(player), right(player)].into_iter().enumerate() {
        actions = actions | only_if((next & open).ne(0), int_u64(1 << action));
    }
    actions = actions | only_if(world.data_siphons.gt(0), int_u64(1 << SIPHON));
    let programs = world.owned & affordable(world) & applicable(state, scene);
    actions | (programs << FIRST_PROGRAM)
}

/// The programs that the player can pay.
#[track_caller]
fn affordable(world: &World) -> Int {
    let pays = |have: Int, cost: fn(usize) -> i32| {
        let mut programs = int_u64(0);
        for amount in 0..=5 {
            let with_cost = (0..PROGRAMS).filter(|&p| cost(p) == amount).map(|p| 1u64 << p).sum();
            programs = programs | only_if(have.ge(amount), int_u64(with_cost));
        }
        programs
    };
    pays(world.credits, |p| layout().programs[p].credits)
        & pays(world.energy, |p| layout().programs[p].energy)
}

/// The programs that would have an effect: the last column of the table of programs.
#[track_caller]
fn applicable(state: &State, scene: &Scene) -> Int {
    use programs::*;
    let world = &state.world;
    let board = &world.board;
    let enemies = &world.enemies.list;
    let any = |set: Int| set.ne(0);
    let any_enemy = any(enemies.alive);
    let any_transmission = any(world.transmissions.list.alive);
    let things = board.blocks | scene.enemy_cells | scene.transmission_cells;
    let conditions = [
        (PUSH, any_enemy),
        (PULL, any_enemy),
        (POLY, any_enemy),
        (CRASH, any(surroundings(scene.player.cell) & things)),
        (WARP, any_enemy | any_transmission),
        (DEBUG, any(scene.enemy_cells & board.blocks)),
        (ROW, any(scene.enemy_cells & scene.player.row_cells())),
        (COL, any(scene.enemy_cells & scene.player.col_cells())),
        (UNDO, state.history.count.gt(0)),
        (SHOW, !world.show),
        (RESET, world.hp.lt(3)),
        (CALM, !world.scheduled_disabled),
        (D_BOM, any(enemies.of_kind(DAEMON))),
        (DELAY, any_transmission),
        (ANTI_V, any(enemies.of_kind(VIRUS))),
        (SCORE, state.stage.lt(STAGES)),
        (REDUC, any(programs::reducible(board) & board.spawning())),
        (ATK_PLUS, world.atk_plus_uses.lt(2)),
        (HACK, any(board.siphoned)),
    ];
    let always = (1 << WAIT) | (1 << STEP) | (1 << SIPH_PLUS) | (1 << EXCH);
    let mut programs = int_u64(always);
    for (program, condition) in conditions {
        programs = programs | only_if(condition, int_u64(1 << program));
    }
    programs
}

/// Does the action, or nothing if it cannot be done.
#[track_caller]
pub fn perform(state: State, scene: &Scene, action: Int, key: Key) -> (State, Deed) {
    let legal = (legal(&state, scene) >> action.as_u64()) & 1;
    let chosen = |number: usize| legal.as_bool() & action.eq(number as i32);
    let line = Line::of(&state.world, scene, action);
    let state = siphon(state, scene, chosen(SIPHON));
    let state = walk(state, &line);
    let run = programs::Run { action, legal: legal.as_bool(), target: line.enemy };
    let (mut state, effect) = programs::run(state, scene, run, key);
    let transmissions = state.world.transmissions.list;
    state.world.transmissions.list = transmissions.without(line.transmission);
    let left = line.walks & !line.exit_reached;
    let is_program = run.legal & action.ge(FIRST_PROGRAM);
    let deed = Deed {
        succeeded: line.succeeds() | chosen(SIPHON) | is_program,
        ends_turn: line.attacks() | left | chosen(SIPHON) | run.is(programs::WAIT),
        exit_reached: line.exit_reached | effect.exit_reached,
        pickup: line.pickup,
        kills: effect.kills + transmissions.kills(line.transmission),
    };
    (state, deed)
}

/// What a direction action meets: rules, section 3.1. All empty for other actions.
struct Line {
    /// The slot of the transmission that is hit.
    transmission: Int,
    /// The slot of the enemy that is hit.
    enemy: Int,
    /// The cell to walk onto.
    next: Int,
    walks: Bool,
    pickup: Bool,
    exit_reached: Bool,
}

impl Line {
    #[track_caller]
    fn of(world: &World, scene: &Scene, action: Int) -> Line {
        let is = |direction: i32| action.eq(direction);
        let along = |options: [Int; 4]| {
            let [up, down, left, right] = options;
            let none = only_if(is(3), right);
            select(is(0), up, select(is(1), down, select(is(2), left, none)))
        };
        let player = scene.player.cell;
        let board = &world.board;
        let ray = along(scene.player.rays());
        let things = board.blocks | scene.enemy_cells | scene.transmission_cells;
        let first = first_along(ray, is(0) | is(3), things);
        let place = super::board::Place::of(first);
        let on_cell = all_if(first.ne(0));
        let transmission = lowest(world.transmissions.list.at(&place) & on_cell);
        let enemy = only_if(transmission.eq(0), lowest(world.enemies.list.at(&place) & on_cell));
        let target = (transmission | enemy).ne(0);
        let next =
            only_if(!target, along([up(player), down(player), left(player), right(player)]) & !board.blocks);
        Line {
            transmission,
            enemy,
            next,
            walks: next.ne(0),
            pickup: (next & board.pickups).ne(0),
            exit_reached: (next & board.exit).ne(0),
        }
    }

    #[track_caller]
    fn attacks(&self) -> Bool {
        (self.transmission | self.enemy).ne(0)
    }

    #[track_caller]
    fn succeeds(&self) -> Bool {
        self.attacks() | self.walks
    }
}

/// Walks onto a free cell. Credits and energy stay where they are; only a data siphon is picked up.
#[track_caller]
fn walk(mut state: State, line: &Line) -> State {
    let world = &mut state.world;
    world.player = select(line.walks, line.next, world.player);
    world.board.pickups = world.board.pickups & !line.next;
    world.data_siphons = world.data_siphons + line.pickup.as_i32();
    state
}

/// Siphons the player's cell and its neighbours: rules, section 5.
#[track_caller]
fn siphon(mut state: State, scene: &Scene, flag: Bool) -> State {
    let world = &mut state.world;
    let board = &mut world.board;
    let cells = only_if(flag, cross(scene.player.cell));
    let fresh = cells & !board.siphoned;
    let blocks = fresh & board.blocks;
    let bare = fresh & !board.blocks;
    world.score = world.score + total(&board.value, blocks & board.data);
    let player = scene.player.cell;
    for cell in [player, up(player), down(player), left(player), right(player)] {
        let program = int_u64(1) << read(&board.value, cell);
        world.owned = world.owned | only_if((cell & blocks & !board.data).ne(0), program);
    }
    world.credits = world.credits + total(&board.credits, bare);
    world.energy = world.energy + total(&board.energy, bare);
    state.pending_siphon = state.pending_siphon + total(&board.spawn, blocks);
    board.credits = board.credits.map(|digit| digit & !bare);
    board.energy = board.energy.map(|digit| digit & !bare);
    board.spawn = board.spawn.map(|digit| digit & !blocks);
    board.question = board.question & !blocks;
    board.siphoned = board.siphoned | cells;
    board.centers = board.centers | only_if(flag, player);
    world.data_siphons = world.data_siphons - flag.as_i32();
    let interval = (state.scheduled_interval - 1).maximum(4);
    state.scheduled_interval = select(flag, interval, state.scheduled_interval);
    state.next_scheduled_turn = state.next_scheduled_turn + select(flag, int(5), int(0));
    state
}
