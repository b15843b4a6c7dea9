//! Base64, decoded and encoded bit by bit.

/// Decodes standard base64 with padding; `None` if an encoder would not write `text`.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let alphabet = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/']);
    let alphabet: Vec<char> = alphabet.collect();
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for c in digits.chars() {
        let digit = alphabet.iter().position(|known| *known == c)?;
        bits += &format!("{digit:06b}");
    }
    // Each `=` means that two bits are left over.
    let (bits, left_over) = bits.split_at(bits.len().checked_sub(2 * padding)?);
    if left_over.contains('1') {
        return None;
    }
    let bytes = bits.as_bytes().chunks(8);
    let byte = |bits| u8::from_str_radix(std::str::from_utf8(bits).ok()?, 2).ok();
    bytes.map(byte).collect()
}

/// Encodes bytes as base64.
pub fn encode(data: &[u8]) -> String {
    let digits = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/']);
    let digits: Vec<char> = digits.collect();
    let bits: String = data.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut text: String = bits
        .as_bytes()
        .chunks(6)
        .map(|bits| {
            let bits = format!("{:0<6}", std::str::from_utf8(bits).unwrap());
            digits[usize::from_str_radix(&bits, 2).unwrap()]
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
