//! From addresses to names, as far as the program's files have any.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use addr2line::Loader;

use crate::edge::dump::facts::short;
use crate::edge::dump::text::printable;
use crate::sys::Module;

/// The most characters of a function's name; generic ones are longer than anybody reads.
const MOST_NAME: usize = 160;

/// The files behind the modules, opened when an address needs them.
pub(super) struct Symbols<'m> {
    modules: &'m [Module],
    files: HashMap<usize, Option<Loader>>,
    known: HashMap<u64, Rc<[String]>>,
    /// Modules whose file is another one by now.
    replaced: Vec<String>,
}

impl<'m> Symbols<'m> {
    pub(super) fn new(modules: &'m [Module]) -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let replaced = maps.lines().filter_map(|line| {
            let path = line.strip_suffix(" (deleted)")?;
            Some(path[path.find('/')?..].to_owned())
        });
        Self {
            modules,
            files: HashMap::new(),
            known: HashMap::new(),
            replaced: replaced.collect(),
        }
    }

    /// What is at an address: the innermost inlined function first. One line at least.
    pub(super) fn at(&mut self, address: u64) -> Rc<[String]> {
        if let Some(known) = self.known.get(&address) {
            return Rc::clone(known);
        }
        let lines: Rc<[String]> = self.look_up(address).into();
        self.known.insert(address, Rc::clone(&lines));
        lines
    }

    fn look_up(&mut self, address: u64) -> Vec<String> {
        let containing = |module: &Module| module.range.contains(&address);
        let Some(number) = self.modules.iter().position(containing) else {
            return vec![format!("{address:#x} in no module")];
        };
        let module = &self.modules[number];
        let in_file = address.wrapping_sub(module.bias);
        let replaced = &self.replaced;
        let file = self
            .files
            .entry(number)
            .or_insert_with(|| open(module, replaced));
        let named = file
            .as_ref()
            .map_or_else(Vec::new, |file| names(file, in_file));
        if named.is_empty() {
            return vec![format!("{}+{in_file:#x}", name_of(module))];
        }
        named
    }
}

/// The program itself is opened through `/proc`: what runs, even if its file was replaced since.
fn open(module: &Module, replaced: &[String]) -> Option<Loader> {
    if module.path.is_empty() {
        return Loader::new("/proc/self/exe").ok();
    }
    // Names from another build would be wrong, which is worse than none.
    if replaced.contains(&module.path) {
        return None;
    }
    Loader::new(&module.path).ok()
}

/// The functions that were inlined at an address, then the one that they are in. What that one is called the symbol table knows best: debug
/// information made of line tables has no names, or short ones.
fn names(file: &Loader, address: u64) -> Vec<String> {
    let mut frames: Vec<(Option<String>, String)> = Vec::new();
    if let Ok(mut found) = file.find_frames(address) {
        while let Ok(Some(frame)) = found.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|function| Some(function.demangle().ok()?.into_owned()));
            let place = frame.location.and_then(|location| {
                let file = printable(short(location.file?));
                Some(format!(" at {file}:{}", location.line.unwrap_or(0)))
            });
            frames.push((name, place.unwrap_or_default()));
        }
    }
    let symbol = file
        .find_symbol(address)
        .map(|symbol| addr2line::demangle_auto(Cow::Borrowed(symbol), None).into_owned());
    match (frames.last_mut(), symbol) {
        (Some((name, _)), symbol @ Some(_)) => *name = symbol,
        (None, Some(symbol)) => frames.push((Some(symbol), String::new())),
        (_, None) => {}
    }
    frames
        .into_iter()
        .filter_map(|(name, place)| Some(cut(&name?) + &place))
        .collect()
}

fn cut(name: &str) -> String {
    let name = printable(name);
    match name.char_indices().nth(MOST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The last part of a module's path; the program is called by its file's name.
pub(super) fn name_of(module: &Module) -> String {
    let path = if module.path.is_empty() {
        let program = std::env::current_exe().unwrap_or_default();
        program.to_string_lossy().into_owned()
    } else {
        module.path.clone()
    };
    printable(path.rsplit('/').next().unwrap_or(&path))
}
