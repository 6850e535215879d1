//! The names of calls that start commands or change files, and where such a name is a call.

use super::contains;
use crate::programs::effect::Language;

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// One literal is text for a shell, several are an argv.
    Start,
    Delete,
    DeleteTree,
    Write,
    Read,
    Kill,
    Fork,
    Hex,
    Base64,
    Http,
    /// Enters a directory.
    Enter,
}

/// The last part of a call's name, and what stands before it where that matters.
pub(super) const CALLS: &[(&str, Call)] = &[
    ("chdir", Call::Enter),
    ("system", Call::Start),
    ("popen", Call::Start),
    ("popen2", Call::Start),
    ("popen3", Call::Start),
    ("Popen", Call::Start),
    ("getoutput", Call::Start),
    ("getstatusoutput", Call::Start),
    ("check_output", Call::Start),
    ("check_call", Call::Start),
    ("create_subprocess_shell", Call::Start),
    ("create_subprocess_exec", Call::Start),
    ("execv", Call::Start),
    ("execve", Call::Start),
    ("execvp", Call::Start),
    ("execvpe", Call::Start),
    ("execl", Call::Start),
    ("execle", Call::Start),
    ("execlp", Call::Start),
    ("execlpe", Call::Start),
    ("spawnl", Call::Start),
    ("spawnlp", Call::Start),
    ("spawnv", Call::Start),
    ("spawnvp", Call::Start),
    ("posix_spawn", Call::Start),
    ("posix_spawnp", Call::Start),
    ("execSync", Call::Start),
    ("execFile", Call::Start),
    ("execFileSync", Call::Start),
    ("spawn", Call::Start),
    ("spawnSync", Call::Start),
    ("execa", Call::Start),
    ("execaSync", Call::Start),
    ("shell_exec", Call::Start),
    ("passthru", Call::Start),
    ("proc_open", Call::Start),
    ("pcntl_exec", Call::Start),
    ("execute", Call::Start),
    ("exec", Call::Start),
    ("qx", Call::Start),
    ("capture2", Call::Start),
    ("capture2e", Call::Start),
    ("capture3", Call::Start),
    ("syscmd", Call::Start),
    ("esyscmd", Call::Start),
    ("shell", Call::Start),
    ("command", Call::Start),
    ("system2", Call::Start),
    ("Command", Call::Start),
    ("cmd", Call::Start),
    ("sh", Call::Start),
    ("execShellCmd", Call::Start),
    ("ProcessBuilder", Call::Start),
    ("createProcess", Call::Start),
    ("callCommand", Call::Start),
    ("readProcess", Call::Start),
    ("rawSystem", Call::Start),
    ("run", Call::Start),
    ("call", Call::Start),
    ("start_process", Call::Start),
    ("spawn_command_line_sync", Call::Start),
    ("spawn_command_line_async", Call::Start),
    ("runCommand", Call::Start),
    ("EXEC", Call::Start),
    ("doShellScript", Call::Start),
    ("deleteDir", Call::DeleteTree),
    ("deleteRecursively", Call::DeleteTree),
    ("rmtree", Call::DeleteTree),
    ("remove_tree", Call::DeleteTree),
    ("rm_rf", Call::DeleteTree),
    ("rm_r", Call::DeleteTree),
    ("remove_dir", Call::DeleteTree),
    ("remove_entry", Call::DeleteTree),
    ("remove_entry_secure", Call::DeleteTree),
    ("rmSync", Call::DeleteTree),
    ("rimraf", Call::DeleteTree),
    ("removeSync", Call::DeleteTree),
    ("emptyDirSync", Call::DeleteTree),
    ("emptyDir", Call::DeleteTree),
    ("rm", Call::DeleteTree),
    ("removedirs", Call::DeleteTree),
    ("removeDirectoryRecursive", Call::DeleteTree),
    ("removePathForcibly", Call::DeleteTree),
    ("rmdirSync", Call::DeleteTree),
    ("RemoveAll", Call::DeleteTree),
    ("remove_dir_all", Call::DeleteTree),
    ("remove_file", Call::Delete),
    ("rmdir", Call::Delete),
    ("unlink", Call::Delete),
    ("unlinkSync", Call::Delete),
    ("delete", Call::Delete),
    ("remove", Call::Delete),
    ("truncate", Call::Delete),
    ("truncateSync", Call::Delete),
    ("readFileSync", Call::Read),
    ("read", Call::Read),
    ("readlines", Call::Read),
    ("file_get_contents", Call::Read),
    ("readdirSync", Call::Read),
    ("directory", Call::DeleteTree),
    ("file", Call::Delete),
    ("writeFileSync", Call::Write),
    ("writeTextFile", Call::Write),
    ("writeTextFileSync", Call::Write),
    ("write", Call::Write),
    ("writeFile", Call::Write),
    ("appendFileSync", Call::Write),
    ("write_text", Call::Write),
    ("write_bytes", Call::Write),
    ("file_put_contents", Call::Write),
    ("open", Call::Write),
    ("fopen", Call::Write),
    ("createWriteStream", Call::Write),
    ("copyfile", Call::Write),
    ("copytree", Call::Write),
    ("copy2", Call::Write),
    ("makedirs", Call::Write),
    ("savefig", Call::Write),
    ("to_csv", Call::Write),
    ("to_parquet", Call::Write),
    ("to_json", Call::Write),
    ("to_excel", Call::Write),
    ("to_html", Call::Write),
    ("to_pickle", Call::Write),
    ("to_feather", Call::Write),
    ("savetxt", Call::Write),
    ("savez", Call::Write),
    ("savez_compressed", Call::Write),
    ("save", Call::Write),
    ("save_pretrained", Call::Write),
    ("save_screenshot", Call::Write),
    ("imwrite", Call::Write),
    ("imsave", Call::Write),
    ("write_parquet", Call::Write),
    ("write_csv", Call::Write),
    ("write_html", Call::Write),
    ("write_image", Call::Write),
    ("to_file", Call::Write),
    ("to_netcdf", Call::Write),
    ("copy", Call::Write),
    ("move", Call::Write),
    ("rename", Call::Write),
    ("renameSync", Call::Write),
    ("symlink", Call::Write),
    ("kill", Call::Kill),
    ("killpg", Call::Kill),
    ("posix_kill", Call::Kill),
    ("fork", Call::Fork),
    ("pcntl_fork", Call::Fork),
    ("fromhex", Call::Hex),
    ("unhexlify", Call::Hex),
    ("hex2bin", Call::Hex),
    ("b64decode", Call::Base64),
    ("base64_decode", Call::Base64),
    ("decode_base64", Call::Base64),
    ("atob", Call::Base64),
    ("decode64", Call::Base64),
    ("urlopen", Call::Http),
    ("urlretrieve", Call::Http),
    ("fetch", Call::Http),
];

/// Common words are calls only where the text has what they belong to.
pub(super) fn means_the_call(
    language: Language,
    call: Call,
    word: &[u8],
    before: &[u8],
    text: &[u8],
) -> bool {
    let qualifier = |names: &[&str]| names.iter().any(|name| before.ends_with(name.as_bytes()));
    let has = |names: &[&str]| names.iter().any(|name| contains(text, name.as_bytes()));
    match (language, word) {
        (Language::Python, b"run" | b"call" | b"exec" | b"spawn" | b"execute" | b"shell" | b"Command") => {
            has(&["subprocess", "sh.", "pexpect", "pty", "fabric", "invoke"])
                && word != b"execute"
                && word != b"exec"
        }
        (Language::Python, b"remove" | b"truncate" | b"rename" | b"delete" | b"rm" | b"kill" | b"open") => {
            qualifier(&["os.", "os').", "os\").", "sftp."])
                || word == b"open" && !before.ends_with(b"urllib.request.url")
                || (has(&["from os import"]) && !before.ends_with(b"."))
        }
        // `user.save()` is a row of a database
        (
            _,
            b"save" | b"save_pretrained" | b"save_screenshot" | b"imwrite" | b"imsave" | b"write_parquet"
            | b"write_csv" | b"write_html" | b"write_image" | b"to_file" | b"to_netcdf",
        ) => language == Language::Python && before.ends_with(b"."),
        (
            _,
            b"copytree" | b"copy2" | b"makedirs" | b"savefig" | b"to_csv" | b"to_parquet" | b"to_json"
            | b"to_excel" | b"to_html" | b"to_pickle" | b"to_feather" | b"savetxt" | b"savez"
            | b"savez_compressed",
        ) => language == Language::Python,
        (
            Language::JavaScript,
            b"exec" | b"spawn" | b"run" | b"Command" | b"shell" | b"execute" | b"fork",
        ) => has(&["child_process", "Deno", "Bun", "execa", "shelljs", "zx"]) || qualifier(&["os."]),
        (_, b"runCommand" | b"EXEC" | b"doShellScript") => {
            language == Language::JavaScript && (word != b"runCommand" || !before.ends_with(b"."))
        }
        (
            Language::JavaScript,
            b"rm" | b"rmdir" | b"unlink" | b"truncate" | b"rename" | b"remove" | b"copy" | b"open",
        ) => has(&["fs", "Deno", "Bun"]),
        (Language::JavaScript, b"delete" | b"system" | b"call" | b"move") => false,
        (Language::Ruby, b"run" | b"call" | b"shell" | b"execute" | b"Command") => false,
        (Language::Ruby, b"delete") => qualifier(&["File.", "Dir.", "FileUtils."]),
        (Language::Ruby, b"rm" | b"remove" | b"copy" | b"move" | b"rename") => {
            qualifier(&["FileUtils.", "File."]) || has(&["FileUtils"])
        }
        (Language::Perl | Language::Php | Language::Lua, b"run" | b"call" | b"shell" | b"Command") => false,
        (Language::Perl, b"delete" | b"remove" | b"copy" | b"move") => false,
        (Language::Php, b"delete" | b"remove" | b"move") => false,
        (Language::Lua, b"exec" | b"delete" | b"copy" | b"move") => false,
        (Language::Lua, b"remove" | b"rename" | b"execute") => qualifier(&["os."]),
        (Language::Awk, _) => matches!(word, b"system"),
        (_, b"read" | b"readlines") => language == Language::Ruby && qualifier(&["File."]),
        // a Rakefile
        (Language::Ruby, b"sh") => {
            let behind = text.get(before.len() + word.len()..).unwrap_or_default().trim_ascii_start();
            has(&["task"]) || matches!(behind.first(), Some(b'"' | b'\'' | b'(' | b'%'))
        }
        (Language::Other, b"Command") => qualifier(&["exec."]),
        (_, b"cmd" | b"sh") => language == Language::Other,
        (_, b"write") => language == Language::Ruby && qualifier(&["File.", "IO."]),
        // `(delete-directory "x" t)`
        (_, b"directory" | b"file") => qualifier(&["delete-"]),
        (_, b"command") => qualifier(&["shell-"]),
        (
            Language::Other,
            b"call" | b"execute" | b"delete" | b"remove" | b"open" | b"copy" | b"move" | b"fetch",
        ) => false,
        (Language::Editor, _) => {
            matches!(word, b"system" | b"delete" | b"writefile" | b"popen" | b"execute_shell")
                && call != Call::Fork
        }
        _ => true,
    }
}

/// Whether arguments follow: in parentheses, or, where the language has that, as a literal right behind the name.
pub(super) fn is_called(language: Language, word: &[u8], text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    // `File.rm_rf!("x")`
    let next = rest.strip_prefix(b"!").unwrap_or(rest).trim_ascii_start().first();
    match language {
        Language::Perl | Language::Ruby if word != b"rm" => true,
        Language::Other | Language::Ruby | Language::Perl => matches!(next, Some(b'(' | b'"' | b'\'' | b'`')),
        _ => next == Some(&b'('),
    }
}
