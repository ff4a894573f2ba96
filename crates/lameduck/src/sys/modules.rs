//! The program and its libraries in memory: where each lies, and how its stacks are unwound.

use std::ffi::CStr;
use std::ops::Range;

/// The most of one unwind table that is copied; debug builds of large programs have 20 MB.
const TABLE_MAX: u64 = 256 << 20;

/// How many modules are listed.
pub(crate) const MODULES_MAX: usize = 1_024;

/// One loaded program or library.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// As the loader calls it; empty for the program itself.
    pub(crate) path: String,
    /// What is added to an address of the file.
    pub(crate) bias: u64,
    /// Where it lies.
    pub(crate) range: Range<u64>,
    /// The build id, in bytes; empty without one.
    pub(crate) build_id: Vec<u8>,
    /// `.eh_frame_hdr` and `.eh_frame`, copied: address in the file, and bytes.
    pub(crate) unwind: Option<Unwind>,
}

/// Tables as copies: a library may be unloaded as soon as the loader's lock is free.
#[derive(Clone, Debug)]
pub(crate) struct Unwind {
    pub(crate) header_at: u64,
    pub(crate) header: Vec<u8>,
    pub(crate) frames_at: u64,
    pub(crate) frames: Vec<u8>,
}

/// Everything that is loaded, at most [`MODULES_MAX`].
pub(crate) fn modules() -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: the callback is called before this returns, each time with valid data, and with the pointer that is given here: to `modules`,
    // which nobody else uses meanwhile. It does not unwind: what may fail in it gives `None`, and allocation failure aborts.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut modules).cast()) };
    modules
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    into: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid `info`, and `into` as `modules` gave it, borrowed by nobody else for the call.
    let (info, modules) = unsafe { (&*info, &mut *into.cast::<Vec<Module>>()) };
    if modules.len() == MODULES_MAX {
        return 1;
    }
    // SAFETY: `info` was filled by the loader, which holds its lock during the call: what it describes stays mapped.
    modules.extend(unsafe { module(info) });
    0
}

/// # Safety
///
/// `info` describes a module that is mapped and stays so for the call.
unsafe fn module(info: &libc::dl_phdr_info) -> Option<Module> {
    if info.dlpi_phdr.is_null() {
        return None;
    }
    // SAFETY: pointer and count are the module's program headers, which are mapped (the caller's promise).
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let loads = || headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
    let begin = loads().map(|h| h.p_vaddr).min()?;
    let end = loads().map(|h| h.p_vaddr.saturating_add(h.p_memsz)).max()?;
    let bias = info.dlpi_addr;
    let at = |address: u64, length: u64| -> Option<&[u8]> {
        // Only what lies in one segment that is read from the file and readable.
        loads().find(|h| {
            h.p_flags & libc::PF_R != 0
                && h.p_vaddr <= address
                && address
                    .checked_add(length)
                    .is_some_and(|end| end <= h.p_vaddr + h.p_memsz)
        })?;
        let from = bias.wrapping_add(address) as *const u8;
        // SAFETY: the range lies in a readable segment of a module that stays mapped for the call (the caller's promise). Unwind tables and
        // notes are constant; relocations of them were done before the module was listed.
        Some(unsafe { std::slice::from_raw_parts(from, usize::try_from(length).ok()?) })
    };
    let unwind = headers
        .iter()
        .find(|h| h.p_type == libc::PT_GNU_EH_FRAME)
        .and_then(|h| {
            let header = at(h.p_vaddr, h.p_memsz)?;
            let frames_at = frames_address(h.p_vaddr, header)?;
            let segment =
                loads().find(|s| s.p_vaddr <= frames_at && frames_at < s.p_vaddr + s.p_memsz)?;
            let length = segment.p_vaddr + segment.p_memsz - frames_at;
            Some(Unwind {
                header_at: h.p_vaddr,
                header: header.to_vec(),
                frames_at,
                frames: at(frames_at, length.min(TABLE_MAX))?.to_vec(),
            })
        });
    let build_id = headers
        .iter()
        .filter(|h| h.p_type == libc::PT_NOTE)
        .filter_map(|h| at(h.p_vaddr, h.p_memsz))
        .find_map(build_id);
    let path = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: the loader's names are NUL-terminated and live as long as the module.
        unsafe { CStr::from_ptr(info.dlpi_name) }
            .to_string_lossy()
            .into_owned()
    };
    Some(Module {
        path,
        bias,
        range: bias.wrapping_add(begin)..bias.wrapping_add(end),
        build_id: build_id.unwrap_or_default(),
        unwind,
    })
}

/// Where `.eh_frame` begins: version 1, pointer encoding `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, then the pointer (LSB 3.0, 8.6.2), which is
/// what every linker writes.
fn frames_address(header_at: u64, header: &[u8]) -> Option<u64> {
    let (&[version, encoding, _, _], rest) = header.split_first_chunk::<4>()?;
    let offset = i32::from_le_bytes(*rest.first_chunk::<4>()?);
    (version == 1 && encoding == 0x1b).then(|| {
        header_at
            .wrapping_add(4)
            .wrapping_add_signed(i64::from(offset))
    })
}

/// The description of the note `NT_GNU_BUILD_ID` (3) of "GNU"; notes are padded to four bytes.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let word =
            |at: usize| Some(u32::from_le_bytes(*notes.get(at..)?.first_chunk::<4>()?) as usize);
        let (name_length, length, kind) = (word(0)?, word(4)?, word(8)?);
        let name_end = 12usize.checked_add(name_length.checked_next_multiple_of(4)?)?;
        let end = name_end.checked_add(length)?;
        let description = notes.get(name_end..end)?;
        if kind == 3 && notes.get(12..16) == Some(b"GNU\0") {
            return Some(description.to_vec());
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_its_libraries_are_found() {
        let here = the_program_and_its_libraries_are_found as *const () as u64;
        let modules = modules();
        let program = modules
            .iter()
            .find(|module| module.range.contains(&here))
            .expect("we are loaded");
        assert_eq!(program.path, "", "the program has no name of its own");
        let unwind = program.unwind.as_ref().expect("Rust has unwind tables");
        assert!(!unwind.header.is_empty() && !unwind.frames.is_empty());
        assert!(modules.iter().any(|module| module.path.contains("libc")));
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let other = [
            4, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, b'G', b'N', b'U', 0, 9, 9, 9, 0,
        ];
        let id = [
            4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0, 0xab, 0xcd,
        ];
        let notes = [&other[..], &id].concat();
        assert_eq!(build_id(&notes), Some(vec![0xab, 0xcd]));
        for cut in 0..notes.len() {
            assert_eq!(build_id(&notes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(build_id(&[0xff; 32]), None);
    }

    #[test]
    fn a_foreign_header_is_refused() {
        assert_eq!(
            frames_address(100, &[1, 0x1b, 3, 0x3b, 0xf8, 0xff, 0xff, 0xff]),
            Some(96)
        );
        assert_eq!(frames_address(100, &[2, 0x1b, 3, 0x3b, 0, 0, 0, 0]), None);
        assert_eq!(frames_address(100, &[1, 0x1b, 3]), None);
    }
}
