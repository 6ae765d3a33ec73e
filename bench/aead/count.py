"""Counts the instructions of one call of `Weapon::seal` and `Weapon::open` in `aead-table`, step by step:
gdb -batch -x bench/aead/count.py --args bench/aead/target/release/aead-table --sizes 64 --batches 8 --rounds 1
No counters of the processor are needed, which virtual machines rarely have, and valgrind knows no AVX-512."""

import re
import subprocess

import gdb

# By then all has been made that is made once.
CALLS_BEFORE = 3

gdb.execute("set pagination off")
# The names as the linker knows them.
gdb.execute("set language c")
program = gdb.current_progspace().filename
symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
for verb in ("seal", "open"):
    symbol = re.search(rf"\S*contender\.\.Weapon\S*Contender\$GT\${len(verb)}{verb}\S*", symbols)[0]
    stop = gdb.Breakpoint(f"'{symbol}'")
    stop.ignore_count = CALLS_BEFORE
    gdb.execute("run", to_string=True)
    stop.delete()
    inside = int(gdb.parse_and_eval("$sp"))
    count = 0
    # The call has returned when its return address is off the stack.
    while int(gdb.parse_and_eval("$sp")) <= inside:
        gdb.execute("stepi", to_string=True)
        count += 1
    print(f"{verb}: {count} instructions")
    gdb.execute("kill")
