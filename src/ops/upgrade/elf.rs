//! Whether bytes are a static program for this machine, as elf(5) has it: nothing else of it is believed, and nothing executed.

/// Where things are in the header of a file of 64 bits.
const TYPE: usize = 16;
const MACHINE: usize = 18;
const PROGRAMS: usize = 32;
const SECTIONS: usize = 40;
const PROGRAM_SIZE: usize = 54;
const SECTION_SIZE: usize = 58;

const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const INTERPRETER: u32 = 3;

/// What is wrong with the file.
pub(super) fn check(bytes: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "it is cut off: what its header speaks of is not there";
    if bytes.starts_with(b"#!") {
        return Err("it is a script, and execward is one static binary");
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it is no program: it does not begin as an ELF file does");
    }
    let endian = if cfg!(target_endian = "little") { 1 } else { 2 };
    if bytes.get(4) != Some(&2) || bytes.get(5) != Some(&endian) {
        return Err("it is a program for another machine");
    }
    if !matches!(short(bytes, TYPE).ok_or(CUT)?, EXECUTABLE | SHARED) {
        return Err("it is an ELF file that is no program");
    }
    if Some(short(bytes, MACHINE).ok_or(CUT)?) != own_machine() {
        return Err("it is a program for another machine");
    }
    let size = bytes.len() as u64;
    let within = |offset: u64, length: u64| offset.checked_add(length).is_some_and(|end| end <= size);
    let sections = long(bytes, SECTIONS).ok_or(CUT)?;
    let each = u64::from(short(bytes, SECTION_SIZE).ok_or(CUT)?);
    let count = u64::from(short(bytes, SECTION_SIZE + 2).ok_or(CUT)?);
    if sections != 0 && !within(sections, each * count) {
        return Err(CUT);
    }
    let programs = long(bytes, PROGRAMS).ok_or(CUT)?;
    let each = u64::from(short(bytes, PROGRAM_SIZE).ok_or(CUT)?);
    let count = u64::from(short(bytes, PROGRAM_SIZE + 2).ok_or(CUT)?);
    if count == 0 || each < 56 {
        return Err("it is an ELF file that is no program");
    }
    for index in 0..count {
        let at = programs.checked_add(index * each).and_then(|at| usize::try_from(at).ok()).ok_or(CUT)?;
        let kind = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(CUT)?;
        if u32::from_ne_bytes(*kind) == INTERPRETER {
            return Err(
                "it is linked dynamically: it would run what else lies on this machine, and not what was signed",
            );
        }
        let offset = long(bytes, at + 8).ok_or(CUT)?;
        let length = long(bytes, at + 32).ok_or(CUT)?;
        if !within(offset, length) {
            return Err(CUT);
        }
    }
    Ok(())
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// What this program says of itself.
fn own_machine() -> Option<u16> {
    use std::io::Read as _;
    let mut header = [0; 20];
    std::fs::File::open("/proc/self/exe").ok()?.read_exact(&mut header).ok()?;
    short(&header, MACHINE)
}
