//! Arithmetic on constants, by precedence climbing with the stacks on the heap.

/// What arithmetic needs from outside.
pub(super) trait Numbers {
    /// The value of a variable, `None` where it is not known.
    fn number(&mut self, name: &str) -> Option<i64>;
    /// An assignment; `None` where the value is not known.
    fn assign(&mut self, name: &str, value: Option<i64>);
    /// It cannot be evaluated: a division by zero, digits that are no number.
    fn fail(&mut self);
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Number(i64),
    Name(String),
    Op(&'static str),
}

const OPERATORS: [&str; 37] = [
    "<<=", ">>=", "**", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+=", "-=", "*=", "/=",
    "%=", "&=", "^=", "|=", "+", "-", "*", "/", "%", "<", ">", "=", "&", "|", "^", "!", "~", "?", ":", ",",
];

/// The value of an expression, where it is known. Anything that is not understood is not known.
pub(super) fn evaluate(text: &[u8], numbers: &mut dyn Numbers) -> Option<i64> {
    let tokens = tokens(text);
    let Some(tokens) = tokens else {
        if has_no_number(text) {
            numbers.fail();
        }
        forget(text, numbers);
        return None;
    };
    if tokens.is_empty() {
        return Some(0);
    }
    // `y=3,y+1`: one after the other, and the last is the value
    let mut depth = 0_usize;
    let mut value = None;
    for part in tokens.split(|token| {
        match token {
            Token::Op("(") => depth += 1,
            Token::Op(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Op(",")
    }) {
        value = single(part, numbers);
    }
    value
}

/// The value of an expression without a comma.
fn single(tokens: &[Token], numbers: &mut dyn Numbers) -> Option<i64> {
    // Only `name op= expression` at the outermost level assigns a known value; assignments elsewhere make the name
    // unknown.
    if let [Token::Name(name), Token::Op(op), rest @ ..] = tokens
        && op.ends_with('=')
        && !matches!(*op, "==" | "!=" | "<=" | ">=")
        && !assigns(rest)
    {
        let right = calculate(rest, numbers);
        let value = match op.strip_suffix('=') {
            Some("") => right,
            Some(operator) => {
                let left = numbers.number(name);
                left.zip(right).and_then(|(left, right)| checked(operator, left, right, numbers))
            }
            None => None,
        };
        numbers.assign(name, value);
        return value;
    }
    // `i++` and `--i`, as loops count
    if let [Token::Name(name), Token::Op(op @ ("++" | "--"))]
    | [Token::Op(op @ ("++" | "--")), Token::Name(name)] = tokens
    {
        let before = numbers.number(name);
        let after = before.and_then(|number| number.checked_add(if *op == "++" { 1 } else { -1 }));
        numbers.assign(name, after);
        return if matches!(tokens.first(), Some(Token::Name(_))) { before } else { after };
    }
    if assigns(tokens) {
        for token in tokens {
            if let Token::Name(name) = token {
                numbers.assign(name, None);
            }
        }
        return None;
    }
    calculate(tokens, numbers)
}

fn assigns(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| {
        matches!(token, Token::Op("++" | "--" | "="))
            || matches!(token, Token::Op(op) if op.len() > 1 && op.ends_with('=') && !matches!(*op, "==" | "!=" | "<=" | ">="))
    })
}

/// Every name in an expression that cannot be read may have been assigned to.
fn forget(text: &[u8], numbers: &mut dyn Numbers) {
    for word in text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_') {
        if let (Some(first), Ok(word)) = (word.first(), std::str::from_utf8(word))
            && !first.is_ascii_digit()
            && text.contains(&b'=')
        {
            numbers.assign(word, None);
        }
    }
}

fn tokens(text: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        match byte {
            b' ' | b'\t' | b'\n' | b'"' => rest = tail,
            b'(' => {
                tokens.push(Token::Op("("));
                rest = tail;
            }
            b')' => {
                tokens.push(Token::Op(")"));
                rest = tail;
            }
            b'0'..=b'9' => {
                let length = rest
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'#' | b'@' | b'_'))
                    .count();
                let (number, left) = rest.split_at(length);
                tokens.push(Token::Number(parse_number(std::str::from_utf8(number).ok()?)?));
                rest = left;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                let (name, left) = rest.split_at(length);
                tokens.push(Token::Name(std::str::from_utf8(name).ok()?.to_owned()));
                rest = left;
            }
            _ => {
                let operator = OPERATORS.iter().find(|operator| rest.starts_with(operator.as_bytes()))?;
                tokens.push(Token::Op(operator));
                rest = rest.get(operator.len()..)?;
            }
        }
    }
    Some(tokens)
}

/// Decimal, `0x`, octal, and `base#digits` up to base 36.
pub(super) fn parse_number(text: &str) -> Option<i64> {
    if let Some((base, digits)) = text.split_once('#') {
        let base: u32 = base.parse().ok()?;
        return if (2..=36).contains(&base) { i64::from_str_radix(digits, base).ok() } else { None };
    }
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

fn precedence(operator: &str) -> Option<u8> {
    Some(match operator {
        "," => 1,
        "||" => 3,
        "&&" => 4,
        "|" => 5,
        "^" => 6,
        "&" => 7,
        "==" | "!=" => 8,
        "<" | ">" | "<=" | ">=" => 9,
        "<<" | ">>" => 10,
        "+" | "-" => 11,
        "*" | "/" | "%" => 12,
        "**" => 13,
        _ => return None,
    })
}

fn apply(operator: &str, left: i64, right: i64) -> Option<i64> {
    let shift = || u32::try_from(right).ok().filter(|bits| *bits < 64);
    Some(match operator {
        "," => right,
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<<" => left.wrapping_shl(shift()?),
        ">>" => left.wrapping_shr(shift()?),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        "%" => left.checked_rem(right)?,
        "**" => left.wrapping_pow(u32::try_from(right).ok().filter(|power| *power < 1 << 16)?),
        _ => return None,
    })
}

fn checked(operator: &str, left: i64, right: i64, numbers: &mut dyn Numbers) -> Option<i64> {
    if right == 0 && matches!(operator, "/" | "%") {
        numbers.fail();
    }
    apply(operator, left, right)
}

/// Whether digits stand in it that are no number: `08`.
fn has_no_number(text: &[u8]) -> bool {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'#' | b'@' | b'_'));
    let mut numbers = words.filter(|word| word.first().is_some_and(u8::is_ascii_digit));
    numbers.any(|word| std::str::from_utf8(word).is_ok_and(|word| parse_number(word).is_none()))
}

/// Shunting-yard; `?:` is not followed.
fn calculate(tokens: &[Token], numbers: &mut dyn Numbers) -> Option<i64> {
    let mut values: Vec<i64> = Vec::new();
    let mut operators: Vec<(&str, bool)> = Vec::new();
    let mut operand = true;
    let reduce =
        |values: &mut Vec<i64>, (operator, unary): (&str, bool), numbers: &mut dyn Numbers| -> Option<()> {
            let right = values.pop()?;
            let value = if unary {
                match operator {
                    "-" => right.wrapping_neg(),
                    "!" => i64::from(right == 0),
                    "~" => !right,
                    _ => right,
                }
            } else {
                let left = values.pop()?;
                checked(operator, left, right, numbers)?
            };
            values.push(value);
            Some(())
        };
    for token in tokens {
        match token {
            Token::Number(number) if operand => {
                values.push(*number);
                operand = false;
            }
            Token::Name(name) if operand => {
                let Some(number) = numbers.number(name) else {
                    // it may be divided by nothing
                    if tokens.iter().any(|token| matches!(token, Token::Op("/" | "%"))) {
                        numbers.fail();
                    }
                    return None;
                };
                values.push(number);
                operand = false;
            }
            Token::Op("(") if operand => operators.push(("(", true)),
            Token::Op(")") if !operand => loop {
                match operators.pop()? {
                    ("(", _) => break,
                    operator => reduce(&mut values, operator, numbers)?,
                }
            },
            Token::Op(op @ ("-" | "+" | "!" | "~")) if operand => operators.push((op, true)),
            Token::Op(op) if !operand => {
                let level = precedence(op)?;
                while let Some((top, unary)) = operators.last().copied() {
                    let higher = unary && top != "("
                        || precedence(top)
                            .is_some_and(|above| !unary && (above > level || above == level && *op != "**"));
                    if top == "(" || !higher {
                        break;
                    }
                    operators.pop();
                    reduce(&mut values, (top, unary), numbers)?;
                }
                operators.push((op, false));
                operand = true;
            }
            _ => return None,
        }
    }
    while let Some(operator) = operators.pop() {
        if operator.0 == "(" {
            return None;
        }
        reduce(&mut values, operator, numbers)?;
    }
    match values.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}
