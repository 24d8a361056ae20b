//! The list of the kernel's functions.

/// Hands the list of the kernel's functions, with their documentation, to the macro named: `kernel_functions!(declare)` becomes
/// `declare! { fn ferrmod_log(level: u32, text: *const u8, length: usize); ... }`.
///
/// Pointers come with their length and are only used during the call, except where the documentation says otherwise. A function
/// that can fail returns a negative errno.
#[macro_export]
macro_rules! kernel_functions {
    ($then:ident) => {
        $then! {
            /// Writes lines to the kernel log at a level from 0 (emergency) to 7 (debug).
            fn ferrmod_log(level: u32, text: *const u8, length: usize);
            /// Something went wrong that must not: an oops that ends the running task. Never returns.
            fn ferrmod_panic(message: *const u8, length: usize, file: *const u8, file_length: usize, line: u32, column: u32);
            /// Takes heap memory, on the calling module's account; null when there is none.
            fn ferrmod_alloc(size: usize, align: usize) -> *mut u8;
            /// Gives heap memory back.
            fn ferrmod_free(memory: *mut u8, size: usize, align: usize);
            /// Moves heap memory to a block of another size; null (and the old block stays) when there is none.
            fn ferrmod_realloc(memory: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8;
            /// Nanoseconds since the kernel was booted.
            fn ferrmod_now() -> u64;
            /// Nanoseconds since 1970-01-01 UTC.
            fn ferrmod_wall_clock() -> u64;
            /// Fills a buffer with random bytes.
            fn ferrmod_random(buffer: *mut u8, length: usize);
            /// Lets the running task sleep for so many nanoseconds.
            fn ferrmod_sleep(nanoseconds: u64);
            /// Lets other tasks run.
            fn ferrmod_yield();
            /// Adds a file under `/dev` or `/proc`; its handle. The operations are copied; `data` stays the module's.
            fn ferrmod_file_add(
                path: *const u8,
                length: usize,
                mode: u32,
                operations: *const $crate::FileOperations,
                data: usize,
            ) -> i64;
            /// Removes a file, after the calls into it have returned.
            fn ferrmod_file_remove(handle: i64) -> i32;
            /// Makes a task that runs `entry(data)`; its number.
            fn ferrmod_task_spawn(name: *const u8, length: usize, entry: unsafe extern "C" fn(usize), data: usize) -> i64;
            /// Waits until a task is over; an error when an oops ended it.
            fn ferrmod_task_join(task: i64) -> i32;
            /// Reads a parameter's text as the standard type `kind` (`int`, `bool`, ...). A null text is a bare name. `value`
            /// holds the old value and gets the new one.
            fn ferrmod_param_parse(
                kind: *const u8,
                kind_length: usize,
                text: *const u8,
                length: usize,
                value: *mut u64,
            ) -> i32;
            /// Writes what a parameter of the standard type `kind` shows for a value, without a newline; how many bytes.
            fn ferrmod_param_show(kind: *const u8, kind_length: usize, value: u64, buffer: *mut u8, length: usize) -> i64;
        }
    };
}
