//! The market of the station: six prices that swing, and give way to what is sold.

use std::f64::consts::TAU;

use crate::lang::{Float, Int, constant, select};

use super::layout::layout;
use super::pcg::{Pcg, between, normal};
use super::site::COMMODITIES;

/// Draws of a commodity in a new market, and of all in a step.
const NEW_DRAWS: usize = 4;
pub const STEP_DRAWS: usize = 2 * COMMODITIES;

/// f32\[COMMODITIES\] each.
#[derive(Clone, Copy)]
pub struct Market {
    pub price: Float,
    pub before: Float,
    pub phase: Float,
    /// In ticks.
    pub period: Float,
    pub swing: Float,
    pub stock: Float,
    /// What was sold lately.
    pub sold: Float,
}
crate::tree!(Market { price, before, phase, period, swing, stock, sold });

/// A number of each commodity.
#[track_caller]
fn each(of: fn(&super::layout::Commodity) -> f32) -> Float {
    constant(layout().commodities.iter().map(of).collect::<Vec<f32>>())
}

/// The usual prices.
#[track_caller]
pub fn usual() -> Float {
    each(|commodity| commodity.price)
}

#[track_caller]
fn within_limits(price: Float) -> Float {
    price.clamp(each(|commodity| commodity.least), each(|commodity| commodity.most))
}

impl Market {
    /// The market that follows in the stream, and what follows after it.
    #[track_caller]
    pub fn draw(rng: Pcg) -> (Market, Pcg) {
        let units = rng.units(NEW_DRAWS * COMMODITIES).reshape([COMMODITIES, NEW_DRAWS]);
        let phase = between(units.index(1, 1), 0.0, TAU);
        let swing = usual() * between(units.index(1, 3), 0.10, 0.30);
        let price = within_limits(usual() + swing * phase.sin());
        let market = Market {
            price,
            before: price,
            phase,
            period: between(units.index(1, 2), 180.0, 380.0),
            swing,
            stock: between(units.index(1, 0), 20.0, 120.0),
            sold: price.full_like(0.0),
        };
        (market, rng.skip(NEW_DRAWS * COMMODITIES))
    }

    /// The next prices, at tick `now` (i32) after `ticks` (f32) more; and the stream.
    #[track_caller]
    pub fn pass(self, now: Int, ticks: Float, rng: Pcg) -> (Market, Pcg) {
        let noise = normal(rng.units(STEP_DRAWS).reshape([COMMODITIES, 2]));
        let noise = usual() * 0.03 * ticks.maximum(1.0).sqrt() * noise;
        let swing = self.swing * (now.as_f32() * TAU / self.period + self.phase).sin();
        let price = usual() + swing - self.stock * 0.04 - self.sold * 0.05 + noise;
        let market = Market {
            price: within_limits(price),
            before: self.price,
            sold: self.sold * (ticks * (-1.0 / 14.0)).exp(),
            stock: (self.stock * 0.998).maximum(0.0),
            ..self
        };
        (market, rng.skip(STEP_DRAWS))
    }

    /// The market after a sale of `quantity` f32\[COMMODITIES\], and what is paid. A large sale presses its own price.
    #[track_caller]
    pub fn sell(self, quantity: Float) -> (Market, Float) {
        let ratio = quantity / (self.stock + quantity).maximum(1.0);
        let slip = (ratio * 0.25 + ratio.sqrt() * 0.2).clamp(0.0, 0.7);
        let paid = select(quantity.gt(0.0), quantity * self.price * (1.0 - slip), 0.0).sum([0]);
        (Market { stock: self.stock + quantity, sold: self.sold + quantity, ..self }, paid)
    }

    /// What a cargo is worth, f32.
    #[track_caller]
    pub fn value(&self, cargo: Float) -> Float {
        (cargo * self.price).sum([0])
    }
}
