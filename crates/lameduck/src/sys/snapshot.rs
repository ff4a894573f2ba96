//! A thread's registers and stack, copied by the thread itself in a signal handler.
//!
//! Owns the slots, mapped before they are needed, and the handler. Which signal asks for a snapshot is the signal edge's business, what is
//! made of one the dump's. x86-64 Linux only; `no_snapshot.rs` is the twin that says so.
//!
//! # A slot's life
//!
//! ```text
//! asker    FREE ──► ASKED(tid) ──────────────────────────────► FREE     answered, or given up
//! handler               └────► BUSY ──► DONE
//! ```
//!
//! One word holds state, thread and turn, and each step is a compare-exchange of all three: a thread that comes late finds another turn and
//! copies nothing. A thread that is in BUSY when the time is over (it was not scheduled) keeps its slot: the slot is not used again.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The most of a stack that is copied; what is deeper is cut off, and said to be.
pub(crate) const STACK_MAX: usize = 512 * 1024;

/// How many threads are asked at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// How many writable mappings are remembered; of a stack in a further one only a page is copied.
const MAPS_MAX: usize = 16_384;

const PAGE: usize = 4096;

const FREE: u64 = 0;
const ASKED: u64 = 1;
const BUSY: u64 = 2;
const DONE: u64 = 3;
const LOST: u64 = 4;
const STATE: u64 = 7;

struct Slot {
    /// turn (29 bits) | tid (32 bits) | state (3 bits)
    word: AtomicU64,
    /// rip, rsp, rbp.
    registers: [AtomicU64; 3],
    copied: AtomicUsize,
    stack: AtomicPtr<u8>,
}

static SLOTS: [Slot; AT_ONCE] = [const {
    Slot {
        word: AtomicU64::new(FREE),
        registers: [const { AtomicU64::new(0) }; 3],
        copied: AtomicUsize::new(0),
        stack: AtomicPtr::new(ptr::null_mut()),
    }
}; AT_ONCE];

/// Writable mappings, ascending: where a stack may end.
static MAPS: [[AtomicU64; 2]; MAPS_MAX] = [const { [const { AtomicU64::new(0) }; 2] }; MAPS_MAX];
static MAPS_LEN: AtomicUsize = AtomicUsize::new(0);

/// Whether somebody holds the desk.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What a thread answered.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// Where it was, and its stack from there on.
    Stack {
        registers: Registers,
        stack: &'a [u8],
    },
    /// Nothing within the patience: it has the signal blocked, sleeps uninterruptibly, or could not run.
    Silent,
    /// It had ended.
    Gone,
    /// The system did not deliver the signal: too many are pending (RLIMIT_SIGPENDING), or a sandbox forbids it.
    Refused,
}

/// Instruction, stack and base pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
}

/// Maps the slots. Call it before the handler is installed; again it does nothing.
///
/// # Errors
///
/// What mmap(2) reports: no memory left.
pub(crate) fn prepare() -> io::Result<()> {
    for slot in &SLOTS {
        if !slot.stack.load(Ordering::Acquire).is_null() {
            continue;
        }
        // SAFETY: a new private anonymous mapping, at an address that the kernel chooses, changes no memory that exists.
        let mapped = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_MAX,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Release pairs with the Acquire in `copy`. Two that prepare at once map one too many, which is only address space.
        slot.stack.store(mapped.cast(), Ordering::Release);
    }
    Ok(())
}

/// The handler's address, for `sigaction(2)` with `SA_SIGINFO`.
pub(crate) fn handler() -> usize {
    on_snapshot as *const () as usize
}

/// Async-signal-safe: atomics, `gettid` and a copy that the kernel makes; no lock, no allocation, no panic. Leaves `errno` as it was.
extern "C" fn on_snapshot(
    _signo: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: has no precondition and cannot fail.
    let tid = u64::from(unsafe { libc::gettid() }.unsigned_abs());
    for slot in &SLOTS {
        // Acquire pairs with the Release in `Slot::ask`: who sees the turn sees its maps.
        let word = slot.word.load(Ordering::Acquire);
        if word & STATE == ASKED
            && word >> 3 & u64::from(u32::MAX) == tid
            && slot.step(word, BUSY, Ordering::Acquire)
        {
            slot.copy(context);
            // Release pairs with the Acquire in `Slot::answer`.
            slot.word.store(word & !STATE | DONE, Ordering::Release);
            return;
        }
    }
}

impl Slot {
    fn step(&self, word: u64, to: u64, order: Ordering) -> bool {
        self.word
            .compare_exchange(word, word & !STATE | to, order, Ordering::Relaxed)
            .is_ok()
    }

    /// Runs in the handler.
    fn copy(&self, context: *mut libc::c_void) {
        // SAFETY: the kernel hands a handler with SA_SIGINFO a valid `ucontext_t` that lives until the handler returns.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let at = |register: libc::c_int| registers[register as usize].cast_unsigned();
        let sp = at(libc::REG_RSP);
        for (word, value) in self
            .registers
            .iter()
            .zip([at(libc::REG_RIP), sp, at(libc::REG_RBP)])
        {
            word.store(value, Ordering::Relaxed);
        }
        let into = self.stack.load(Ordering::Acquire);
        let length = read_own(sp, into, stack_length(sp).min(STACK_MAX));
        self.copied.store(length, Ordering::Relaxed);
    }

    /// Begins a turn.
    fn ask(&self, tid: i32) {
        let turn = (self.word.load(Ordering::Relaxed) >> 35).wrapping_add(1) & 0x1fff_ffff;
        let word = turn << 35 | u64::from(tid.unsigned_abs()) << 3 | ASKED;
        // Release pairs with the Acquire in the handler.
        self.word.store(word, Ordering::Release);
    }

    /// What it says by now; `None` when it has not answered.
    fn answer(&self) -> Option<Answer<'_>> {
        // Acquire pairs with the handler's Release.
        if self.word.load(Ordering::Acquire) & STATE != DONE {
            return None;
        }
        let at = |i: usize| self.registers[i].load(Ordering::Relaxed);
        let length = self.copied.load(Ordering::Relaxed);
        let from = self.stack.load(Ordering::Acquire);
        // SAFETY: the handler wrote `length` bytes, at most STACK_MAX, into the slot's mapping, which is never unmapped; nobody writes to
        // it again before the slot is asked anew, which takes the desk, that the borrow of the answer holds.
        let stack = unsafe { std::slice::from_raw_parts(from, length) };
        Some(Answer::Stack {
            registers: Registers {
                ip: at(0),
                sp: at(1),
                bp: at(2),
            },
            stack,
        })
    }

    /// Ends the turn. A thread in the middle of its copy keeps the slot for good: its DONE, which nobody waits for, is never FREE.
    fn give_back(&self) {
        let ended = |word| {
            let to = if word & STATE == BUSY { LOST } else { FREE };
            Some(word & !STATE | to)
        };
        // Never refused. AcqRel: the answer was read before the next turn may write.
        let _ = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, ended);
    }
}

/// Copies at most `length` bytes from this thread's stack pointer on; says how many. Runs in the handler.
///
/// A mapping may hold more than the stack, and what lies above it may be unmapped meanwhile: so the kernel copies, which stops where
/// nothing is, and faults nowhere (process_vm_readv(2)). Where it may not be asked, there is the page that the pointer is in.
fn read_own(sp: u64, into: *mut u8, length: usize) -> usize {
    let local = libc::iovec {
        iov_base: into.cast(),
        iov_len: length,
    };
    let remote = libc::iovec {
        iov_base: sp as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: this thread's own, which lives as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    // SAFETY: both vectors are read by the call only. Target: the slot's mapping has STACK_MAX bytes, is never unmapped, and belongs to this
    // thread while the slot is BUSY. Source: any address will do. Other threads may write to this stack meanwhile (what they were
    // lent): the bytes are only ever read as numbers, so a torn one leads the unwinder astray and nothing else.
    let copied = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
    };
    // SAFETY: as above.
    unsafe { *errno = before };
    if let Ok(copied) = usize::try_from(copied) {
        return copied;
    }
    let length = length.min(PAGE - (sp as usize & (PAGE - 1)));
    // SAFETY: source: the rest of the page that this thread's stack pointer is in, which nobody unmaps while it stands on it. Target as
    // above; they do not overlap: the slot is no stack.
    unsafe { ptr::copy_nonoverlapping(sp as *const u8, into, length) };
    length
}

/// How many bytes may be read from `sp` on.
fn stack_length(sp: u64) -> usize {
    let to_page_end = PAGE - (sp as usize & (PAGE - 1));
    let (mut low, mut high) = (0, MAPS_LEN.load(Ordering::Acquire).min(MAPS_MAX));
    // The first mapping that ends above `sp`.
    while low < high {
        let middle = low + (high - low) / 2;
        if MAPS[middle][1].load(Ordering::Relaxed) > sp {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let Some([begin, end]) = MAPS.get(low) else {
        return to_page_end;
    };
    let (begin, end) = (begin.load(Ordering::Relaxed), end.load(Ordering::Relaxed));
    if begin <= sp && sp < end {
        (end - sp) as usize
    } else {
        to_page_end
    }
}

/// The right to ask, which one at a time has.
#[derive(Debug)]
pub(crate) struct Desk(());

impl Desk {
    /// Takes the desk, unless somebody has it; reads where stacks are.
    pub(crate) fn take() -> Option<Self> {
        // Acquire pairs with the Release in `drop`.
        TAKEN
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        read_maps();
        Some(Self(()))
    }

    /// Asks all these threads, some at a time, each for `patience` at most and none after `until`; hands each answer over with its place in
    /// `tids`. Says how many were asked.
    pub(crate) fn ask(
        &mut self,
        signo: i32,
        tids: &[i32],
        patience: Duration,
        until: Instant,
        heard: &mut dyn FnMut(usize, Answer<'_>),
    ) -> usize {
        let mut asked = 0;
        while asked < tids.len() && Instant::now() < until {
            let free: Vec<&Slot> = SLOTS.iter().filter(|slot| slot.is_free()).collect();
            if free.is_empty() {
                break;
            }
            let batch = &tids[asked..tids.len().min(asked + free.len())];
            let mut open: Vec<(usize, &Slot)> = Vec::with_capacity(batch.len());
            for (place, (tid, slot)) in batch.iter().zip(&free).enumerate() {
                slot.ask(*tid);
                match signal_thread(*tid, signo) {
                    Ok(()) => open.push((asked + place, slot)),
                    Err(error) => {
                        slot.give_back();
                        heard(asked + place, answer_of(&error));
                    }
                }
            }
            listen(&mut open, patience, heard);
            for (place, slot) in open {
                // It may have answered since.
                match slot.answer() {
                    Some(answer) => heard(place, answer),
                    None => heard(place, Answer::Silent),
                }
                slot.give_back();
            }
            asked += batch.len();
        }
        asked
    }
}

/// Waits until all have answered or the patience is over; those that have not are left in `open`.
fn listen(
    open: &mut Vec<(usize, &Slot)>,
    patience: Duration,
    heard: &mut dyn FnMut(usize, Answer<'_>),
) {
    let begun = Instant::now();
    loop {
        open.retain(|(place, slot)| match slot.answer() {
            Some(answer) => {
                heard(*place, answer);
                slot.give_back();
                false
            }
            None => true,
        });
        let waited = begun.elapsed();
        if open.is_empty() || waited >= patience {
            return;
        }
        // A thread that runs answers within microseconds; one that waits for a processor, when it gets one.
        if waited < Duration::from_millis(1) {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Slot {
    fn is_free(&self) -> bool {
        self.word.load(Ordering::Acquire) & STATE == FREE
            && !self.stack.load(Ordering::Acquire).is_null()
    }

    /// Somebody was asked, and the turn has not ended.
    fn is_open(&self) -> bool {
        let state = self.word.load(Ordering::Acquire) & STATE;
        state != FREE && state != LOST
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Some are still open where whoever heard an answer panicked.
        for slot in SLOTS.iter().filter(|slot| slot.is_open()) {
            slot.give_back();
        }
        for slot in SLOTS.iter().filter(|slot| slot.is_free()) {
            let stack = slot.stack.load(Ordering::Acquire);
            // SAFETY: the slot's own mapping, of this length; its contents are not needed any more: nobody holds an answer, which borrows
            // the desk, and a free slot is written to by nobody. Refused, the pages only stay.
            unsafe { libc::madvise(stack.cast(), STACK_MAX, libc::MADV_DONTNEED) };
        }
        // Release pairs with the Acquire in `take`.
        TAKEN.store(false, Ordering::Release);
    }
}

/// Sends the signal to one thread of this process.
fn signal_thread(tid: i32, signo: i32) -> io::Result<()> {
    // SAFETY: takes no pointer; a number that is no thread of this process is refused.
    if unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signo) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn answer_of(refusal: &io::Error) -> Answer<'static> {
    if refusal.raw_os_error() == Some(libc::ESRCH) {
        Answer::Gone
    } else {
        Answer::Refused
    }
}

/// Reads the writable mappings; without `/proc` there are none, and only a page of each stack is copied.
fn read_maps() {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut length = 0;
    let mut end_before = 0;
    for line in text.lines() {
        let Some((mut begin, end, rest)) = mapping(line) else {
            continue;
        };
        // The main thread's stack grows downwards, since this was read too.
        if rest.ends_with("[stack]") {
            begin = end_before;
        }
        end_before = end;
        if rest.starts_with("rw") && length < MAPS_MAX {
            MAPS[length][0].store(begin, Ordering::Relaxed);
            MAPS[length][1].store(end, Ordering::Relaxed);
            length += 1;
        }
    }
    // Release pairs with the Acquire in `stack_length`; no handler reads while nobody is asked.
    MAPS_LEN.store(length, Ordering::Release);
}

/// Begin, end and the rest of a line of `/proc/self/maps`.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (begin, end) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(begin)?, hex(end)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let line = "7ffc1000-7ffc3000 rw-p 00000000 00:00 0          [stack]";
        let (begin, end, rest) = mapping(line).expect("a mapping");
        assert_eq!((begin, end), (0x7ffc_1000, 0x7ffc_3000));
        assert!(rest.starts_with("rw") && rest.ends_with("[stack]"));
        assert_eq!(mapping("no mapping"), None);
    }

    #[test]
    fn a_late_thread_finds_another_turn() {
        let slot = &SLOTS[AT_ONCE - 1];
        slot.ask(77);
        let first = slot.word.load(Ordering::Relaxed);
        slot.give_back();
        slot.ask(77);
        assert!(
            !slot.step(first, BUSY, Ordering::Acquire),
            "the turn is over"
        );
        let second = slot.word.load(Ordering::Relaxed);
        assert!(slot.step(second, BUSY, Ordering::Acquire));
        slot.give_back();
        assert!(!slot.is_free(), "who is copying keeps its slot");
        slot.word.store(FREE, Ordering::Relaxed);
    }
}
