//! The smallest executable file that Linux starts: one header, one segment, no sections, no libraries.
//!
//! Format: <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>

/// Where the file is mapped: any page that is not the first will do.
const BASE: u64 = 0x40_0000;

const HEADER_BYTES: u16 = 64;
const SEGMENT_BYTES: u16 = 56;

/// Where the code begins, counted from the start of the file. A multiple of eight, so that aligned code stays so.
const CODE: u64 = HEADER_BYTES as u64 + 2 * SEGMENT_BYTES as u64;

/// `ET_EXEC`: an executable with fixed addresses.
const EXECUTABLE: u16 = 2;
/// `PT_LOAD`: a part of the file that is mapped into memory.
const LOAD: u32 = 1;
/// `PT_GNU_STACK`: says what may be done with the stack; without it the kernel lets code run there.
const STACK: u32 = 0x6474_e551;
const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;
const PAGE: u64 = 0x1_0000;

/// An executable for `machine` (a number of <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>, `EM_…`),
/// 64 bits and little-endian, that starts at the first byte of `code`. It may read all of itself and write only to its
/// stack.
pub(super) fn executable(machine: u16, code: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let bytes = |file: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|p| file.extend(*p));
    bytes(
        &mut file,
        &[
            // 64 bits, little-endian, version 1, no particular system; filled up to sixteen bytes.
            b"\x7fELF\x02\x01\x01",
            &[0; 9],
            &EXECUTABLE.to_le_bytes(),
            &machine.to_le_bytes(),
            &1u32.to_le_bytes(),
            &(BASE + CODE).to_le_bytes(),
            // Segments follow this header; sections there are none.
            &u64::from(HEADER_BYTES).to_le_bytes(),
            &0u64.to_le_bytes(),
            &0u32.to_le_bytes(),
            &HEADER_BYTES.to_le_bytes(),
            &SEGMENT_BYTES.to_le_bytes(),
            &2u16.to_le_bytes(),
            &[0; 6],
        ],
    );
    let length = CODE + code.len() as u64;
    let segments = [(LOAD, READ | EXECUTE, BASE, length, PAGE), (STACK, READ | WRITE, 0, 0, 16)];
    for (kind, flags, address, length, alignment) in segments {
        bytes(&mut file, &[&kind.to_le_bytes(), &flags.to_le_bytes()]);
        // Offset in the file, virtual and physical address, length in the file and in memory.
        for number in [0, address, address, length, length, alignment] {
            file.extend(u64::to_le_bytes(number));
        }
    }
    file.extend(code);
    file
}
