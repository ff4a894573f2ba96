//! From a copied stack to addresses, with the unwind tables that every Rust program has.

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module as Tables, Unwinder as _};

use crate::sys::Module;
use crate::sys::snapshot::Registers;

/// How many frames of one stack are kept.
pub(super) const MOST_FRAMES: usize = 96;

/// Tables of everything that is loaded.
pub(super) struct Unwinder {
    unwinder: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
}

/// Where a thread was, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Frames {
    /// Addresses inside the calling instructions.
    pub(super) addresses: Vec<u64>,
    /// Whether the outermost frame was reached.
    pub(super) is_whole: bool,
}

impl Unwinder {
    /// Takes the tables out of the modules.
    pub(super) fn new(modules: &mut [Module]) -> Self {
        let mut unwinder = UnwinderX86_64::new();
        for module in modules {
            let Some(unwind) = module.unwind.take() else {
                continue;
            };
            let end = |at: u64, bytes: &[u8]| at..at.saturating_add(bytes.len() as u64);
            let sections = ExplicitModuleSectionInfo {
                eh_frame_svma: Some(end(unwind.frames_at, &unwind.frames)),
                eh_frame: Some(unwind.frames),
                eh_frame_hdr_svma: Some(end(unwind.header_at, &unwind.header)),
                eh_frame_hdr: Some(unwind.header),
                ..ExplicitModuleSectionInfo::default()
            };
            unwinder.add_module(Tables::new(
                module.path.clone(),
                module.range.clone(),
                module.bias,
                sections,
            ));
        }
        Self {
            unwinder,
            cache: CacheX86_64::new(),
        }
    }

    /// Walks one stack, of which `stack` is what lies at the stack pointer.
    pub(super) fn walk(&mut self, registers: Registers, stack: &[u8]) -> Frames {
        let Registers { ip, sp, bp } = registers;
        let mut read = |address: u64| {
            let at = address.checked_sub(sp).ok_or(())?;
            let word = stack.get(usize::try_from(at).map_err(|_| ())?..);
            let word = word.and_then(<[u8]>::first_chunk::<8>).ok_or(())?;
            Ok(u64::from_le_bytes(*word))
        };
        let registers = UnwindRegsX86_64::new(ip, sp, bp);
        let mut frames = Frames::default();
        let mut walk = self
            .unwinder
            .iter_frames(ip, registers, &mut self.cache, &mut read);
        while frames.addresses.len() < MOST_FRAMES {
            match walk.next() {
                Ok(Some(frame)) => frames.addresses.push(frame.address_for_lookup()),
                Ok(None) => {
                    frames.is_whole = true;
                    break;
                }
                Err(_) => break,
            }
        }
        frames
    }
}
