//! Where parked connections lie.
//!
//! Owns places that are found by their number, and the order in which they were taken: who came first is due first. One piece of
//! memory for all of them, whose free places are used again before it grows; how many there are is bounded by the listener's limit of connections.

/// Places that an empty table keeps.
const KEPT: usize = 256;

/// No place.
const NONE: u32 = u32::MAX;

/// A table that remembers the order of arrival.
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

    /// Takes a place for the newest; gives its number. The thing itself comes back when there is no room.
    pub(super) fn insert(&mut self, what: T) -> Result<usize, T> {
        let taken = |older, what| Place::Taken {
            older,
            newer: NONE,
            what,
        };
        let number = match self.places.get(self.free as usize) {
            Some(Place::Free { next }) => {
                let number = self.free;
                self.free = *next;
                self.places[number as usize] = taken(self.newest, what);
                number
            }
            _ => match u32::try_from(self.places.len()) {
                Ok(number) if number != NONE => {
                    self.places.push(taken(self.newest, what));
                    number
                }
                _ => return Err(what),
            },
        };
        match self.newest {
            NONE => self.oldest = number,
            before => self.set_newer(before, number),
        }
        self.newest = number;
        Ok(number as usize)
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

    /// The one that has been here for the longest time.
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
    fn they_leave_in_the_order_in_which_they_came() {
        let mut table = Table::new();
        let numbers: Vec<usize> = (0..5)
            .map(|what| table.insert(what).expect("room"))
            .collect();
        assert_eq!(table.remove(numbers[0]), Some(0));
        assert_eq!(table.remove(numbers[2]), Some(2));
        assert_eq!(table.remove(numbers[4]), Some(4));
        assert_eq!(table.remove(numbers[4]), None, "it is free");
        table.insert(5).expect("room");
        table.insert(6).expect("room");
        assert_eq!(emptied(&mut table), [1, 3, 5, 6]);
        table.insert(7).expect("room");
        assert_eq!(emptied(&mut table), [7]);
    }

    #[test]
    fn free_places_are_used_again() {
        let mut table = Table::new();
        for round in 0..1000 {
            let (a, b) = (
                table.insert(round).expect("room"),
                table.insert(round).expect("room"),
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
            .map(|what| table.insert(what).expect("room"))
            .collect();
        for number in numbers {
            table.remove(number);
            table.shrink();
        }
        assert_eq!(table.places.capacity(), 0);
        table.insert(1).expect("room");
        assert_eq!(emptied(&mut table), [1]);
    }
}
