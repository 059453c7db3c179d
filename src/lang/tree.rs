//! Trees: structs of arrays.
//!
//! Everything that crosses the border of a body (a loop's carry, an environment's state, the parameters
//! of a network) is a [`Tree`]. Its one idea is [`Tree::walk`], a visit of every leaf with its path;
//! flattening, rebuilding, checkpoint names (`params.actor.0.weight`) and error messages follow from it. The
//! macro [`tree!`](crate::tree) implements it for a struct in one line.

use crate::array::{ArrayType, HostArray};

use super::trace::Handle;

/// The dotted path of a leaf: `params.actor.0.weight`.
#[derive(Clone, Debug, Default)]
pub struct Path {
    text: String,
}

impl Path {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn join(&self, name: impl std::fmt::Display) -> Path {
        let text = if self.text.is_empty() { name.to_string() } else { format!("{}.{name}", self.text) };
        Path { text }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A structure of arrays with a fixed set of leaves.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tree of arrays",
    label = "not a `Tree`",
    note = "for a struct whose fields are arrays or trees, write `lockstep::tree!({Self} {{ field, other_field }});` below it, with all its fields"
)]
pub trait Tree: Sized {
    /// Visits every leaf in a fixed order; the visitor may replace it by one of the same kind.
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle));

    /// The same structure with the same leaves. Only the language uses it: user code can't
    /// duplicate a [`Key`](super::Key).
    #[doc(hidden)]
    fn duplicate(&self) -> Self;
}

/// The leaves in order.
pub fn leaves<T: Tree>(tree: &T) -> Vec<Handle> {
    let mut out = Vec::new();
    tree.duplicate().walk(&Path::root(), &mut |_, leaf| out.push(*leaf));
    out
}

/// The types of the leaves in order.
pub fn leaf_types<T: Tree>(tree: &T) -> Vec<ArrayType> {
    leaves(tree).into_iter().map(Handle::array_type).collect()
}

/// The paths of the leaves in order.
pub fn leaf_paths<T: Tree>(tree: &T) -> Vec<String> {
    let mut out = Vec::new();
    tree.duplicate().walk(&Path::root(), &mut |path, _| out.push(path.as_str().to_owned()));
    out
}

/// The tree with its leaves replaced, in order. The number of leaves must be the tree's.
pub fn rebuild<T: Tree>(mut tree: T, new_leaves: &[Handle]) -> T {
    let mut position = 0;
    tree.walk(&Path::root(), &mut |_, leaf| {
        *leaf = new_leaves[position];
        position += 1;
    });
    assert_eq!(position, new_leaves.len(), "rebuild: wrong number of leaves");
    tree
}

/// The tree with every leaf replaced by a placeholder of the same type: its structure alone.
#[track_caller]
pub fn structure<T: Tree>(tree: T) -> T {
    let placeholders: Vec<Handle> = leaf_types(&tree).iter().map(Handle::placeholder).collect();
    rebuild(tree, &placeholders)
}

/// Implements [`Tree`](crate::lang::Tree) for a struct: every listed field is a tree, and all fields must be
/// listed.
///
/// ```
/// use lockstep::lang::{Float, Int};
/// #[derive(Clone, Copy)]
/// struct State { x: Float, time: Int }
/// lockstep::tree!(State { x, time });
/// ```
#[macro_export]
macro_rules! tree {
    ($name:ident $(<$($generic:ident),*>)? { $($field:ident),* $(,)? }) => {
        impl $(<$($generic: $crate::lang::Tree),*>)? $crate::lang::Tree for $name $(<$($generic),*>)? {
            #[allow(unused_variables)]
            fn walk(
                &mut self,
                path: &$crate::lang::Path,
                visit: &mut dyn FnMut(&$crate::lang::Path, &mut $crate::lang::Handle),
            ) {
                $($crate::lang::Tree::walk(&mut self.$field, &path.join(stringify!($field)), visit);)*
            }
            fn duplicate(&self) -> Self {
                Self { $($field: $crate::lang::Tree::duplicate(&self.$field)),* }
            }
        }
    };
}

impl Tree for () {
    fn walk(&mut self, _path: &Path, _visit: &mut dyn FnMut(&Path, &mut Handle)) {}
    fn duplicate(&self) -> Self {}
}

macro_rules! tuple_tree {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Tree),*> Tree for ($($name,)*) {
            fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
                $(self.$index.walk(&path.join($index), visit);)*
            }
            fn duplicate(&self) -> Self {
                ($(self.$index.duplicate(),)*)
            }
        }
    };
}
tuple_tree!(A 0);
tuple_tree!(A 0, B 1);
tuple_tree!(A 0, B 1, C 2);
tuple_tree!(A 0, B 1, C 2, D 3);
tuple_tree!(A 0, B 1, C 2, D 3, E 4);
tuple_tree!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_tree!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_tree!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

impl<T: Tree, const N: usize> Tree for [T; N] {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        for (i, item) in self.iter_mut().enumerate() {
            item.walk(&path.join(i), visit);
        }
    }
    fn duplicate(&self) -> Self {
        std::array::from_fn(|i| self[i].duplicate())
    }
}

impl<T: Tree> Tree for Vec<T> {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        for (i, item) in self.iter_mut().enumerate() {
            item.walk(&path.join(i), visit);
        }
    }
    fn duplicate(&self) -> Self {
        self.iter().map(Tree::duplicate).collect()
    }
}

impl<T: Tree> Tree for Option<T> {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        if let Some(item) = self {
            item.walk(path, visit);
        }
    }
    fn duplicate(&self) -> Self {
        self.as_ref().map(Tree::duplicate)
    }
}

/// A tree whose structure is known only at run time: named leaves in order. Algorithms see the state of an
/// environment as one of these.
#[derive(Clone, Debug, Default)]
pub struct Leaves(pub Vec<(String, Handle)>);

impl Leaves {
    /// The structure of named values: placeholders of their types.
    #[track_caller]
    pub fn placeholders(values: &[(String, HostArray)]) -> Self {
        let placeholder = |value: &HostArray| Handle::placeholder(&value.array_type());
        Leaves(values.iter().map(|(name, value)| (name.clone(), placeholder(value))).collect())
    }

    /// The leaves of any tree, with their paths.
    pub fn of<T: Tree>(tree: &T) -> Self {
        Leaves(leaf_paths(tree).into_iter().zip(leaves(tree)).collect())
    }
}

impl Tree for Leaves {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        for (name, leaf) in &mut self.0 {
            visit(&path.join(name), leaf);
        }
    }
    fn duplicate(&self) -> Self {
        self.clone()
    }
}
