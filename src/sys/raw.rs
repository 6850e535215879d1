//! System calls without the C library: for processes that share memory with their parent, where the library's `errno`
//! and locks would be shared as well.

/// A system call. The result is the call's own: a value, or an errno as a negative number.
///
/// # Safety
///
/// As the call itself requires.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the x86-64 convention of syscall(2): rcx and r11 are lost, memory may be written as the call says.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A system call. The result is the call's own: a value, or an errno as a negative number.
///
/// # Safety
///
/// As the call itself requires.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the arm64 convention of syscall(2); memory may be written as the call says.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    result
}
