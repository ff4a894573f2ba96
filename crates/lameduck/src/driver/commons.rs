//! What crates that build on a lifecycle keep for all of it: one value of each type.
//!
//! Owns the values, and knows none of their types. There are as many as the program has types for them, so the list needs no bound of its own.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Default)]
pub(crate) struct Commons {
    by_type: Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Commons {
    /// The one value of this type.
    pub(crate) fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let id = TypeId::of::<T>();
        let find = |new: Option<Arc<T>>| {
            let mut held = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
            let found = match new {
                Some(new) => Arc::clone(held.entry(id).or_insert(new)),
                None => Arc::clone(held.get(&id)?),
            };
            Some(found.downcast().expect("it is kept under its own type"))
        };
        // Made outside the lock: its maker may ask for another one.
        find(None)
            .or_else(|| find(Some(Arc::default())))
            .expect("it was put there a moment ago")
    }
}

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commons").finish_non_exhaustive()
    }
}
