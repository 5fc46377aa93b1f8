"""Reads the list of crates that a program carries (cargo-auditable, the ELF section .dep-v0) and compares it with Cargo.lock.

Fails unless there is one, each of its crates is in Cargo.lock with that version, and those named on the command line are in it.
"""

import json
import re
import struct
import sys
import zlib


def section(program, wanted):
    """The bytes of a section of a 64-bit little-endian ELF file (System V ABI, chapter 4)."""
    if program[:6] != b"\x7fELF\x02\x01":
        sys.exit("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", program, 0x28)
    size, count, of_names = struct.unpack_from("<HHH", program, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", program, table + size * at) for at in range(count)]
    names = headers[of_names][4]
    for name, _, _, _, offset, length in headers:
        end = program.index(b"\0", names + name)
        if program[names + name : end] == wanted:
            return program[offset : offset + length]
    sys.exit(f"the program has no section {wanted.decode()}")


def main(path, lock, *wanted):
    with open(path, "rb") as file:
        carried = json.loads(zlib.decompress(section(file.read(), b".dep-v0")))
    carried = {(crate["name"], crate["version"]) for crate in carried["packages"]}
    with open(lock, encoding="utf-8") as file:
        locked = set(re.findall(r'name = "(.*)"\nversion = "(.*)"', file.read()))
    if strange := carried - locked:
        sys.exit(f"not in {lock}: {sorted(strange)}")
    if missing := set(wanted) - {name for name, _ in carried}:
        sys.exit(f"not in the program: {sorted(missing)}")
    print(f"the program carries the list of its {len(carried)} crates, as in {lock}")


main(*sys.argv[1:])
