//! More of what small filters print: encoders, editors of lines, and what stands in front of them without changing anything.

/// The command behind programs that change nothing about what it prints: `env echo x`, `timeout 5 echo x`, `sh -c 'echo x'`.
pub(super) fn bare<'a>(argv: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut rest = argv.to_vec();
    for _ in 0..4 {
        let Some((program, words)) = rest.split_first() else { break };
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let plain = words.first().is_some_and(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        let skip = match name {
            b"env" | b"command" | b"builtin" | b"exec" | b"nohup" | b"sudo" | b"doas" | b"busybox"
            | b"toybox" | b"setsid" | b"nice" | b"ionice" | b"time"
                if plain =>
            {
                1
            }
            b"timeout" if plain && words.len() > 1 => 2,
            b"sh" | b"bash" | b"dash" => {
                let [b"-c", text] = words else { break };
                let simple = |byte: &u8| byte.is_ascii_alphanumeric() || b" _-./,:+@%".contains(byte);
                if !text.starts_with(b"echo ") || !text.iter().all(simple) {
                    break;
                }
                return text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
            }
            _ => break,
        };
        rest.drain(..skip);
    }
    rest
}

/// The output of a filter of this name.
pub(super) fn output(name: &[u8], args: &[&[u8]], stdin: Option<&[u8]>) -> Option<Vec<u8>> {
    let decodes = args.iter().any(|arg| matches!(*arg, b"-d" | b"-D" | b"--decode" | b"-di" | b"-id"));
    let among = |known: &[&[u8]]| args.iter().all(|arg| known.contains(arg));
    match name {
        b"base64" if !decodes && among(&[b"-", b"-w0", b"-w", b"0", b"--wrap=0"]) => {
            Some(wrapped(&encoded(stdin?), args.is_empty().then_some(76)))
        }
        b"basenc" if decodes && among(&[b"--base64", b"--base64url", b"-d", b"--decode", b"-i", b"-"]) => {
            super::constants::base64(stdin?)
        }
        b"base32" if decodes && among(&[b"-d", b"--decode", b"-i", b"-"]) => base32(stdin?),
        b"basenc" if decodes && among(&[b"--base32", b"-d", b"--decode", b"-i", b"-"]) => base32(stdin?),
        b"basenc" if decodes && among(&[b"--base16", b"-d", b"--decode", b"-i", b"-"]) => hex(stdin?),
        b"openssl"
            if decodes && among(&[b"enc", b"base64", b"-base64", b"-a", b"-A", b"-d"]) && args.len() > 1 =>
        {
            super::constants::base64(stdin?)
        }
        b"python" | b"python3" if args.starts_with(&[b"-m", b"base64"]) && decodes && args.len() <= 4 => {
            super::constants::base64(stdin?)
        }
        b"xxd" if among(&[b"-p", b"-ps"]) && !args.is_empty() => {
            let digits: String = stdin?.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(wrapped(digits.as_bytes(), Some(60)))
        }
        b"dd" if args.iter().all(|arg| arg.starts_with(b"status=") || arg.starts_with(b"bs=")) => {
            stdin.map(<[u8]>::to_vec)
        }
        b"paste" => pasted(args, stdin?),
        b"sed" | b"gsed" => {
            let arguments =
                super::sed::Arguments::read(args).filter(|read| read.files.is_empty() && !read.in_place);
            Some(arguments?.run(stdin?)?.text)
        }
        b"perl" => match args {
            [b"-pe", code] | [b"-p", b"-e", code] => super::sed::substituted_by_perl(code, stdin?),
            _ => None,
        },
        b"awk" | b"gawk" | b"mawk" | b"nawk" => fields(args, stdin?),
        _ => None,
    }
}

fn wrapped(text: &[u8], width: Option<usize>) -> Vec<u8> {
    let Some(width) = width else { return text.to_vec() };
    let mut out = Vec::with_capacity(text.len() + text.len() / width + 1);
    for line in text.chunks(width) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

fn encoded(input: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(input).into_bytes()
}

fn base32(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in input.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xFFFF;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xFF).unwrap_or_default());
        }
    }
    Some(out)
}

fn hex(input: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = input.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// `paste -s`: the lines as one.
fn pasted(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let delimiter = match args {
        [b"-s"] | [b"-s", b"-"] => b'\t',
        [b"-s", b"-d", delimiter]
        | [b"-s", b"-d", delimiter, b"-"]
        | [b"-sd", delimiter]
        | [b"-sd", delimiter, b"-"] => single(delimiter)?,
        [joined] | [joined, b"-"] => single(joined.strip_prefix(b"-sd")?)?,
        [b"-s", joined] | [b"-s", joined, b"-"] => single(joined.strip_prefix(b"-d")?)?,
        _ => return None,
    };
    let text = input.strip_suffix(b"\n").unwrap_or(input);
    let mut out: Vec<u8> = text.iter().map(|byte| if *byte == b'\n' { delimiter } else { *byte }).collect();
    out.push(b'\n');
    Some(out)
}

fn single(delimiter: &[u8]) -> Option<u8> {
    match delimiter {
        [one] if *one != b'\\' => Some(*one),
        _ => None,
    }
}

/// `awk '{print $2}'`, `awk -F_ '{print $1, $3}'`
fn fields(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let (separator, program) = match args {
        [program] => (None, program),
        [b"-F", separator, program] => (Some(single(separator)?), program),
        [separator, program] => (Some(single(separator.strip_prefix(b"-F")?)?), program),
        _ => return None,
    };
    let inner = program.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?.trim_ascii();
    let list = inner.strip_prefix(b"print")?.trim_ascii().trim_ascii_end();
    let list = list.strip_suffix(b";").unwrap_or(list).trim_ascii();
    let mut wanted = Vec::new();
    for field in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        match field {
            b"" if list.is_empty() => wanted.push(0),
            _ => wanted.push(std::str::from_utf8(field.strip_prefix(b"$")?).ok()?.parse::<usize>().ok()?),
        }
    }
    let mut out = Vec::new();
    if input.is_empty() {
        return Some(out);
    }
    for line in input.strip_suffix(b"\n").unwrap_or(input).split(|byte| *byte == b'\n') {
        let parts: Vec<&[u8]> = match separator {
            Some(separator) if separator != b' ' => line.split(|byte| *byte == separator).collect(),
            _ => line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).collect(),
        };
        let field = |at: &usize| match at.checked_sub(1) {
            None => line,
            Some(at) => parts.get(at).copied().unwrap_or_default(),
        };
        out.extend_from_slice(&wanted.iter().map(field).collect::<Vec<_>>().join(&b' '));
        out.push(b'\n');
    }
    Some(out)
}
