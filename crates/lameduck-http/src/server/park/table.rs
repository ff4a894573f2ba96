//! Where parked connections lie.
//!
//! Owns places that are found by their number, and their order, which the caller's comparison makes: who is due first comes first. One piece of
//! memory for all of them, whose free places are used again before it grows; how many there are is bounded by the listener's limit of connections.

/// Places that an empty table keeps.
const KEPT: usize = 256;

/// Those that a newcomer is compared with: nearly always one, for they come nearly in order.
const COMPARED: usize = 64;

/// No place.
const NONE: u32 = u32::MAX;

/// A table that keeps an order.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    /// The first free place.
    free: u32,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
enum Place<T> {
    Free { next: u32 },
    Taken { older: u32, newer: u32, what: T },
}

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Takes a place behind all that it does not come before; gives its number. The thing itself comes back when there is no room, and when
    /// that place is far from the newest.
    pub(super) fn insert(
        &mut self,
        what: T,
        comes_before: impl Fn(&T, &T) -> bool,
    ) -> Result<usize, T> {
        let Some((older, newer)) = self.between(&what, comes_before) else {
            return Err(what);
        };
        let taken = |what| Place::Taken { older, newer, what };
        let number = match self.places.get(self.free as usize) {
            Some(Place::Free { next }) => {
                let number = self.free;
                self.free = *next;
                self.places[number as usize] = taken(what);
                number
            }
            _ => match u32::try_from(self.places.len()) {
                Ok(number) if number != NONE => {
                    self.places.push(taken(what));
                    number
                }
                _ => return Err(what),
            },
        };
        match older {
            NONE => self.oldest = number,
            older => self.set_newer(older, number),
        }
        match newer {
            NONE => self.newest = number,
            newer => self.set_older(newer, number),
        }
        Ok(number as usize)
    }

    /// Between which two its place is; None if that takes too long to find out.
    fn between(&self, what: &T, comes_before: impl Fn(&T, &T) -> bool) -> Option<(u32, u32)> {
        let (mut older, mut newer) = (self.newest, NONE);
        for _ in 0..COMPARED {
            match self.places.get(older as usize) {
                Some(Place::Taken {
                    older: next,
                    what: there,
                    ..
                }) if comes_before(what, there) => (older, newer) = (*next, older),
                _ => return Some((older, newer)),
            }
        }
        None
    }

    /// Empties a place; None if it is free.
    pub(super) fn remove(&mut self, number: usize) -> Option<T> {
        let place = self.places.get_mut(number)?;
        if matches!(place, Place::Free { .. }) {
            return None;
        }
        let Place::Taken { older, newer, what } =
            std::mem::replace(place, Place::Free { next: self.free })
        else {
            return None;
        };
        self.free = u32::try_from(number).expect("a place's number fits");
        match older {
            NONE => self.oldest = newer,
            older => self.set_newer(older, newer),
        }
        match newer {
            NONE => self.newest = older,
            newer => self.set_older(newer, older),
        }
        Some(what)
    }

    /// The one that comes before all others.
    pub(super) fn oldest(&self) -> Option<(usize, &T)> {
        match self.places.get(self.oldest as usize)? {
            Place::Taken { what, .. } => Some((self.oldest as usize, what)),
            Place::Free { .. } => None,
        }
    }

    /// Gives the memory back, if nobody is here and it is worth it.
    pub(super) fn shrink(&mut self) {
        if self.oldest == NONE && self.places.len() > KEPT {
            *self = Self::new();
        }
    }

    fn set_newer(&mut self, number: u32, to: u32) {
        if let Some(Place::Taken { newer, .. }) = self.places.get_mut(number as usize) {
            *newer = to;
        }
    }

    fn set_older(&mut self, number: u32, to: u32) {
        if let Some(Place::Taken { older, .. }) = self.places.get_mut(number as usize) {
            *older = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is there, oldest first.
    fn emptied(table: &mut Table<u32>) -> Vec<u32> {
        std::iter::from_fn(|| {
            let (number, _) = table.oldest()?;
            table.remove(number)
        })
        .collect()
    }

    #[test]
    fn they_leave_in_order() {
        let mut table = Table::new();
        let numbers: Vec<usize> = (0..5)
            .map(|what| table.insert(what, u32::lt).expect("room"))
            .collect();
        assert_eq!(table.remove(numbers[0]), Some(0));
        assert_eq!(table.remove(numbers[2]), Some(2));
        assert_eq!(table.remove(numbers[4]), Some(4));
        assert_eq!(table.remove(numbers[4]), None, "it is free");
        table.insert(5, u32::lt).expect("room");
        table.insert(6, u32::lt).expect("room");
        assert_eq!(emptied(&mut table), [1, 3, 5, 6]);
        table.insert(7, u32::lt).expect("room");
        assert_eq!(emptied(&mut table), [7]);
    }

    #[test]
    fn who_comes_late_is_put_where_it_belongs() {
        let mut table = Table::new();
        for what in [20, 30, 40, 10, 25, 25, 45] {
            table.insert(what, u32::lt).expect("near enough");
        }
        assert_eq!(emptied(&mut table), [10, 20, 25, 25, 30, 40, 45]);
        for what in 100..200 {
            table.insert(what, u32::lt).expect("room");
        }
        assert_eq!(table.insert(1, u32::lt), Err(1), "too far from the newest");
        table.insert(150, u32::lt).expect("near enough");
        let all = emptied(&mut table);
        assert_eq!(all.len(), 101);
        assert!(all.is_sorted());
    }

    #[test]
    fn free_places_are_used_again() {
        let mut table = Table::new();
        for round in 0..1000 {
            let (a, b) = (
                table.insert(round, u32::lt).expect("room"),
                table.insert(round, u32::lt).expect("room"),
            );
            assert!(a < 2 && b < 2);
            table.remove(a);
            table.remove(b);
        }
    }

    #[test]
    fn an_empty_table_gives_its_memory_back() {
        let mut table = Table::new();
        let numbers: Vec<usize> = (0..10_000)
            .map(|what| table.insert(what, u32::lt).expect("room"))
            .collect();
        for number in numbers {
            table.remove(number);
            table.shrink();
        }
        assert_eq!(table.places.capacity(), 0);
        table.insert(1, u32::lt).expect("room");
        assert_eq!(emptied(&mut table), [1]);
    }
}
