//! Every way code can fault, in one machine and in fresh ones: each ends one task, and the machine goes on.

use std::time::{Duration, Instant};

use crate::common::{CODE, Test, boot, impatient};
use ferrmod_machine::{Argument, Options, Outcome};

/// Name, code, and what the log has to say.
const FAULTS: &[(&str, &[u8], &str)] = &[
    ("null read", &[0x31, 0xff, 0x48, 0x8b, 0x07, 0xc3], "NULL pointer dereference"),
    ("null write", &[0x31, 0xff, 0x48, 0x89, 0x07, 0xc3], "NULL pointer dereference"),
    ("ud2", &[0x0f, 0x0b, 0xc3], "invalid opcode"),
    ("cli", &[0xfa, 0xc3], "general protection"),
    ("hlt", &[0xf4, 0xc3], "general protection"),
    ("mov cr3", &[0x31, 0xc0, 0x0f, 0x22, 0xd8, 0xc3], "general protection"),
    ("wrmsr", &[0x0f, 0x30, 0xc3], "general protection"),
    // mov rax, 0x8000_0000_0000_0000; mov rax, [rax]
    ("non-canonical", &[0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x48, 0x8b, 0, 0xc3], "general protection"),
    // xor ecx, ecx; mov eax, 1; cdq; idiv ecx
    ("divide", &[0x31, 0xc9, 0xb8, 1, 0, 0, 0, 0x99, 0xf7, 0xf9, 0xc3], "divide error"),
    // mov eax, 0xdead000; jmp rax
    ("wild jump", &[0xb8, 0, 0xd0, 0xea, 0x0d, 0xff, 0xe0], "BUG: unable to handle page fault"),
    // mov eax, 0x5000_0000; jmp rax: data is not executable
    ("data executed", &[0xb8, 0, 0, 0, 0x50, 0xff, 0xe0], "kernel tried to execute NX-protected page"),
    // lea rax, [rip]; mov byte [rax], 0x90
    ("text written", &[0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc6, 0x00, 0x90, 0xc3], "page fault"),
    // mov eax, 0x3000_0000; mov byte [rax], 1
    ("rodata written", &[0xb8, 0, 0, 0, 0x30, 0xc6, 0x00, 0x01, 0xc3], "page fault"),
    // mov eax, 0x6800_0000; mov rax, [rax]
    ("absent data", &[0xb8, 0, 0, 0, 0x68, 0x48, 0x8b, 0x00, 0xc3], "page fault"),
    // call self
    ("stack overflow", &[0xe8, 0xfb, 0xff, 0xff, 0xff, 0xc3], "stack"),
    // mov eax, 39; syscall
    ("system call", &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3], "system call"),
    // mov eax, 20; int 0x80
    ("old system call", &[0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3], "system call"),
    ("int3", &[0xcc, 0xc3], "int3"),
    // mov rsp, 1; push rax
    ("stack pointer lost", &[0x48, 0xc7, 0xc4, 1, 0, 0, 0, 0x50, 0xc3], "page fault"),
    // std; fault: the direction flag must not reach Rust code.
    ("direction flag", &[0xfd, 0x0f, 0x0b], "invalid opcode"),
    // pushfq; or dword [rsp], 0x40000; popfq; ud2: neither may the alignment-check flag.
    ("alignment flag", &[0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x0f, 0x0b], "invalid opcode"),
    // fld1 nine times, then ud2: nor a full x87 stack.
    (
        "x87 stack",
        &[0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0x0f, 0x0b],
        "invalid opcode",
    ),
    ("endless loop", &[0xeb, 0xfe], "soft lockup"),
];

fn one(test: &mut Test, name: &str, code: &[u8], said: &str) {
    let before = test.text().len();
    let outcome = test.execute(code, &[]);
    let text = test.text().split_off(before);
    assert_eq!(outcome, Outcome::Oopsed, "{name}: {text}");
    assert!(text.contains(said), "{name} does not say {said:?}: {text}");
}

#[test]
fn every_fault_is_contained() {
    let mut test = boot(impatient());
    for (name, code, said) in FAULTS {
        one(&mut test, name, code, said);
        test.is_well();
    }
    assert_eq!(test.machine.report().unwrap().oopses.len(), FAULTS.len());
}

#[test]
fn many_faults_leave_a_machine_that_works() {
    let mut test = boot(impatient());
    let start = Instant::now();
    for _ in 0..200 {
        assert_eq!(test.execute(&[0x0f, 0x0b], &[]), Outcome::Oopsed);
    }
    println!("200 faults: {:?}", start.elapsed());
    test.is_well();
}

/// A fault in the kernel's own Rust code that was given a bad address by its caller is the caller's fault.
#[test]
fn more_arguments_than_registers() {
    let mut test = boot(Options::default());
    // mov rax, [rsp+8]; add rax, [rsp+16]; add rax, r9; ret
    let code = [0x48, 0x8b, 0x44, 0x24, 8, 0x48, 0x03, 0x44, 0x24, 16, 0x4c, 0x01, 0xc8, 0xc3];
    let arguments = [0, 0, 0, 0, 0, 100, 20, 3].map(Argument::Value);
    assert_eq!(test.execute(&code, &arguments).done().unwrap().value, 123);
}

#[test]
fn buffers_go_in_and_come_back() {
    let mut test = boot(Options::default());
    // mov al, [rdi]; mov [rsi], al; mov ax, [rdx]; inc ax; mov [rdx], ax; mov rax, rdx; ret
    let code = [0x8a, 0x07, 0x88, 0x06, 0x66, 0x8b, 0x02, 0x66, 0xff, 0xc0, 0x66, 0x89, 0x02, 0x48, 0x89, 0xd0, 0xc3];
    let arguments = [Argument::In(vec![7; 100_000]), Argument::Out(3), Argument::InOut(vec![1, 2])];
    let called = test.execute(&code, &arguments).done().unwrap();
    assert!(called.value >= 0x1_0000_0000, "buffers are on the heap");
    assert_eq!(called.buffers.iter().map(|buffer| buffer.to_vec()).collect::<Vec<_>>(), [vec![7, 0, 0], vec![2, 2]]);
    assert_eq!(test.machine.report().unwrap().heap, 0);
}

#[test]
fn memory_can_be_looked_at() {
    let mut test = boot(Options::default());
    let at = test.machine.allocate(5000, 4096).unwrap();
    assert_eq!(at % 4096, 0);
    assert!(test.machine.poke(at + 4000, b"ferrmod").unwrap());
    assert_eq!(test.machine.peek(at + 4000, 7).unwrap().unwrap(), b"ferrmod");
    assert_eq!(test.machine.peek(0, 8).unwrap(), None);
    assert!(!test.machine.poke(0x1000, &[1]).unwrap());
    test.machine.free(at).unwrap();
    assert!(test.machine.free(at).is_err());
    assert!(test.machine.poke(CODE, &vec![0x90; 3 << 20]).unwrap());
    assert_eq!(test.machine.peek(CODE + (3 << 20) - 1, 2).unwrap().unwrap(), [0x90, 0]);
}

#[test]
fn many_machines_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut test = boot(impatient());
                    test.is_well();
                    one(&mut test, "null", FAULTS[0].1, FAULTS[0].2);
                    test.is_well();
                }
            });
        }
    });
}

#[test]
fn a_machine_moves_between_threads() {
    let mut test = std::thread::spawn(|| boot(Options::default())).join().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    test.is_well();
}

#[test]
fn an_idle_machine_takes_no_time() {
    let mut test = boot(Options::default());
    test.is_well();
    let spent = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", test.machine.pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
        fields[0] + fields[1]
    };
    let before = spent();
    std::thread::sleep(Duration::from_millis(500));
    assert!(spent() - before <= 1);
}

#[test]
fn booting_is_fast() {
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let start = Instant::now();
            let test = boot(Options::default());
            let time = start.elapsed();
            drop(test);
            time
        })
        .collect();
    times.sort_unstable();
    println!("boot: median {:?}, best {:?}", times[15], times[0]);
    let test = boot(Options::default());
    let start = Instant::now();
    drop(test);
    println!("end: {:?}", start.elapsed());
    let mut test = boot(Options::default());
    test.is_well();
    let start = Instant::now();
    for _ in 0..1000 {
        test.machine.call(CODE, &[]).unwrap();
    }
    println!("call: {:?}", start.elapsed() / 1000);
    let start = Instant::now();
    for _ in 0..1000 {
        test.machine.poke(CODE, &[0xc3]).unwrap();
    }
    println!("poke of text: {:?}", start.elapsed() / 1000);
}
