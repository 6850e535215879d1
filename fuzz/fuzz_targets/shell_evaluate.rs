//! Any text that is read is evaluated within its budget, with spans inside the text.
#![no_main]

use execward::shell::{Budget, Context, Dialect, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Bash, Dialect::Posix] {
        let context = Context { dialect, ..Context::default() };
        let Ok(found) = read(text, None, &context, &mut Budget::default()) else { continue };
        for invocation in &found.invocations {
            let span = invocation.span;
            assert!(span.start <= span.end && span.end as usize <= text.len());
        }
    }
});
