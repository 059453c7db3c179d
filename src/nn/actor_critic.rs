//! The actor-critic: a policy and a value function, with one trunk for both or a trunk each.

use crate::array::{ArrayType, DType};
use crate::lang::{Features, Float, Handle, Key, Packing, leaf_paths};

use super::{Activation, Dense, Init, LayerSpec, dense};

/// What is fixed about the network beside its parameters' shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    pub obs_size: usize,
    pub num_actions: usize,
    pub hidden_dim: usize,
    pub num_layers: usize,
    pub activation: Activation,
    pub separate_trunks: bool,
    pub init: Init,
}

/// What is fixed about the network's function beside its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Style {
    pub activation: Activation,
    /// Whether observations are mostly zeros (see `EnvSpec`): the first layer skips them.
    pub sparse_obs: bool,
    /// How observations are packed, where they are.
    pub packing: Option<Packing>,
}

/// The parameters. Hidden layers stand in `trunk` if shared, else before the head in `actor` and `critic`.
#[derive(Clone, Debug)]
pub struct ActorCritic {
    pub trunk: Vec<Dense>,
    pub actor: Vec<Dense>,
    pub critic: Vec<Dense>,
}
crate::tree!(ActorCritic { trunk, actor, critic });

impl Architecture {
    /// Fresh parameters.
    #[track_caller]
    pub fn init(&self, key: Key) -> ActorCritic {
        let [trunk, actor, critic] = self.layers();
        let mut layers = self.init.layers(key, &[&trunk[..], &actor, &critic].concat());
        let critic = layers.split_off(trunk.len() + actor.len());
        let actor = layers.split_off(trunk.len());
        ActorCritic { trunk: layers, actor, critic }
    }

    /// The layers of trunk, actor and critic.
    fn layers(&self) -> [Vec<LayerSpec>; 3] {
        let hidden = |i: usize| LayerSpec {
            inputs: if i == 0 { self.obs_size } else { self.hidden_dim },
            outputs: self.hidden_dim,
            gain: std::f64::consts::SQRT_2,
        };
        let head = |outputs, gain| LayerSpec { inputs: self.hidden_dim, outputs, gain };
        let hidden: Vec<LayerSpec> = (0..self.num_layers).map(hidden).collect();
        let (actor, critic) = (head(self.num_actions, 0.01), head(1, 1.0));
        if self.separate_trunks {
            [vec![], [&hidden[..], &[actor]].concat(), [&hidden[..], &[critic]].concat()]
        } else {
            [hidden, vec![actor], vec![critic]]
        }
    }
}

impl ActorCritic {
    /// The network whose parameters have these names (`params.actor.0.kernel`, ...) and types, in any order; the
    /// leaves are placeholders.
    ///
    /// # Errors
    /// One line that names the array which is missing, left over or of the wrong shape.
    pub fn from_types(types: &[(String, ArrayType)]) -> Result<ActorCritic, NotANetwork> {
        let find = |name: &str| types.iter().find(|(other, _)| other == name).map(|(_, found)| found);
        let part = |part: &str| -> Result<Vec<Dense>, NotANetwork> {
            let mut layers = Vec::new();
            while let Some(kernel) = find(&format!("params.{part}.{}.kernel", layers.len())) {
                let name = format!("params.{part}.{}.bias", layers.len());
                let bias = find(&name).ok_or_else(|| NotANetwork(format!("there is no {name}")))?;
                layers.push(dense(&name, kernel, bias)?);
            }
            Ok(layers)
        };
        let network = ActorCritic { trunk: part("trunk")?, actor: part("actor")?, critic: part("critic")? };
        network.check_chain()?;
        let known: Vec<String> =
            leaf_paths(&network).into_iter().map(|path| format!("params.{path}")).collect();
        match types.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(NotANetwork(format!("{name} belongs to no layer"))),
            None => Ok(network),
        }
    }

    /// Checks that the layers fit each other.
    fn check_chain(&self) -> Result<(), NotANetwork> {
        for (name, head) in [("actor", &self.actor), ("critic", &self.critic)] {
            if head.is_empty() {
                return Err(NotANetwork(format!("there is no params.{name}.0.kernel")));
            }
            let layers: Vec<Vec<usize>> =
                self.trunk.iter().chain(head).map(|layer| layer.kernel.shape()).collect();
            if let Some(pair) = layers.windows(2).find(|pair| pair[0][1] != pair[1][0]) {
                let (outputs, inputs) = (pair[0][1], pair[1][0]);
                let message = format!("a layer of {outputs} units is followed by one that reads {inputs}");
                return Err(NotANetwork(message));
            }
        }
        let [actor, critic] = [&self.actor, &self.critic].map(|head| head[0].kernel.shape()[0]);
        if actor != critic {
            return Err(NotANetwork(format!("the actor reads {actor} numbers, the critic {critic}")));
        }
        let values = self.critic[self.critic.len() - 1].kernel.shape()[1];
        if values != 1 {
            return Err(NotANetwork(format!("the critic has {values} outputs, not 1")));
        }
        Ok(())
    }

    /// Numbers in an observation, and actions.
    pub fn sizes(&self) -> (usize, usize) {
        let first = self.trunk.first().unwrap_or(&self.actor[0]);
        let last = &self.actor[self.actor.len() - 1];
        (first.kernel.shape()[0], last.kernel.shape()[1])
    }

    /// Logits `[N, A]` and values `[N]` for `N` observations.
    #[track_caller]
    pub fn apply(&self, style: &Style, obs: Features) -> (Float, Float) {
        match (&self.trunk[..], &self.actor[..], &self.critic[..]) {
            // Heads that read the same numbers are one layer.
            ([_, ..], [actor], [critic]) => {
                let layers = [&self.trunk[..], &[actor.beside(critic)]].concat();
                let both = mlp(&layers, style, obs);
                let actions = actor.bias.size();
                (both.slice(1, 0..actions), both.slice(1, actions..actions + 1).squeeze(1))
            }
            (trunk, actor, critic) => {
                let part = |head: &[Dense]| mlp(&[trunk, head].concat(), style, obs);
                (part(actor), part(critic).squeeze(1))
            }
        }
    }

    /// Values `[N]` alone.
    #[track_caller]
    pub fn value(&self, style: &Style, obs: Features) -> Float {
        mlp(&[&self.trunk[..], &self.critic].concat(), style, obs).squeeze(1)
    }
}

/// A layer of placeholders.
fn dense(bias_name: &str, kernel: &ArrayType, bias: &ArrayType) -> Result<Dense, NotANetwork> {
    let fits = kernel.rank() == 2 && bias.shape == kernel.shape[1..];
    if !fits || [kernel, bias].iter().any(|part| part.dtype != DType::F32) {
        return Err(NotANetwork(format!("{bias_name} is {bias} and its kernel {kernel}")));
    }
    let float = |part| Float::from_handle(Handle::placeholder(part));
    Ok(Dense { kernel: float(kernel), bias: float(bias) })
}

/// Arrays that are not the parameters of an actor-critic.
#[derive(Debug, thiserror::Error)]
#[error("these arrays are no network: {0}")]
pub struct NotANetwork(String);

/// Layers with the activation between them. The first one reads observations in its own way if they are packed or sparse.
#[track_caller]
fn mlp(layers: &[Dense], style: &Style, obs: Features) -> Float {
    let (first, rest) = layers.split_first().expect("a network has a layer");
    let product = match (obs, &style.packing) {
        (Features::Packed { numbers, flags }, Some(packing)) => packing.matmul(numbers, flags, first.kernel),
        (Features::Packed { .. }, None) => {
            panic!("the observations are packed, and the style says nothing of it")
        }
        (Features::Plain(x), _) if style.sparse_obs => x.sparse_matmul(first.kernel),
        (Features::Plain(x), _) => return dense::mlp(layers, style.activation, x),
    };
    let y = product + first.bias.broadcast(0, product.shape()[0]);
    if rest.is_empty() { y } else { dense::mlp(rest, style.activation, style.activation.apply(y)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::{leaf_types, trace};

    /// Names and types of the parameters that training would save.
    fn types(separate_trunks: bool, num_layers: usize) -> Vec<(String, ArrayType)> {
        let architecture = Architecture {
            obs_size: 4,
            num_actions: 3,
            hidden_dim: 8,
            num_layers,
            activation: Activation::Tanh,
            separate_trunks,
            init: Init::Lecun,
        };
        let network = trace(&(), |()| architecture.init(Key::new(0))).output;
        let names = leaf_paths(&network).into_iter().map(|path| format!("params.{path}"));
        names.zip(leaf_types(&network)).collect()
    }

    #[test]
    fn the_shapes_say_what_the_network_is() {
        for (separate_trunks, num_layers) in [(false, 2), (true, 2), (false, 12), (true, 1)] {
            let mut types = types(separate_trunks, num_layers);
            let expected = types.clone();
            types.sort_by(|(a, _), (b, _)| a.cmp(b)); // as files hold them: layer 10 before layer 2
            let network = ActorCritic::from_types(&types).unwrap();
            let found: Vec<ArrayType> = leaf_types(&network);
            assert_eq!(found, expected.into_iter().map(|(_, found)| found).collect::<Vec<_>>());
            assert_eq!(network.sizes(), (4, 3));
        }
    }

    #[test]
    fn arrays_that_are_no_network_are_refused() {
        let message = |change: fn(&mut Vec<(String, ArrayType)>)| {
            let mut types = types(false, 2);
            change(&mut types);
            ActorCritic::from_types(&types).unwrap_err().to_string()
        };
        assert!(message(|types| types.clear()).ends_with("there is no params.actor.0.kernel"));
        assert!(message(|types| types.retain(|(n, _)| n != "params.trunk.1.bias")).contains("trunk.1.bias"));
        assert!(message(|types| types[0].1.dtype = DType::F64).contains("f64"));
        assert!(
            message(|types| types[2].1.shape = vec![9, 8])
                .contains("8 units is followed by one that reads 9")
        );
        assert!(message(|types| types.push(("rest".into(), ArrayType::scalar(DType::F32)))).contains("rest"));
    }
}
