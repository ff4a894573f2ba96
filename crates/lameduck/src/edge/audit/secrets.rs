//! Arguments of a command without its secrets, as far as they can be told by how people write them.

/// Words after whose name a value is secret; compared without case, `-` and `_`.
const WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "bearer",
    "cookie",
    "signature",
];
/// Names that are secret only as a whole: as a part of other words they are harmless.
const WHOLE: [&str; 4] = ["auth", "key", "pass", "pin"];

/// What stands for a secret.
const MASK: &str = "***";

/// Arguments with their secrets masked. Better too much than too little: what follows a secret's name goes to its end.
pub(super) fn masked(arguments: &[String]) -> Vec<String> {
    let mut next_is_secret = false;
    arguments
        .iter()
        .map(|argument| {
            let is_option = argument.starts_with('-');
            if next_is_secret && !is_option {
                next_is_secret = false;
                return MASK.to_owned();
            }
            next_is_secret = names_a_secret(argument) || argument == "-u" || argument == "--user";
            mask_short_password(argument).unwrap_or_else(|| mask_values(&mask_urls(argument)))
        })
        .collect()
}

/// Whether this is the name of a secret, so that its value comes next: `--token`, `password`.
fn names_a_secret(argument: &str) -> bool {
    let name = argument.trim_start_matches('-');
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    !name.is_empty() && name.chars().all(plain) && is_secret(name)
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    WORDS.iter().any(|word| name.contains(word)) || WHOLE.contains(&name.as_str())
}

/// `-pSECRET`, as mysql and its kin take it.
fn mask_short_password(argument: &str) -> Option<String> {
    let value = argument.strip_prefix("-p")?;
    let is_port = value.bytes().all(|byte| byte.is_ascii_digit());
    (!value.is_empty() && !is_port && !value.starts_with('=')).then(|| format!("-p{MASK}"))
}

/// `scheme://user:password@host` loses everything between `//` and `@`.
fn mask_urls(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c == '?' || c == '#' || c.is_whitespace() || c == '"')
            .unwrap_or(after.len());
        // A password may hold an `@` itself: the last one before the path counts.
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str(MASK);
                &after[at..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

/// `NAME=value`, `NAME: value`, `"name":"value"`: a value goes to the next `&` or to the end.
fn mask_values(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        match secret_value(part) {
            Some(at) => {
                out.push_str(&part[..at]);
                out.push_str(MASK);
            }
            None => out.push_str(part),
        }
    }
    out
}

/// Where the value of the first secret name in this text begins.
fn secret_value(text: &str) -> Option<usize> {
    text.match_indices(['=', ':']).find_map(|(at, _)| {
        let before = text[..at].trim_end_matches(['"', '\'', ' ']);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        let start = before
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_part(*c))
            .last()
            .map_or(before.len(), |(index, _)| index);
        let is_empty = text[at + 1..].trim().is_empty();
        (is_secret(&before[start..]) && !is_empty).then_some(at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(line: &str) -> String {
        let arguments: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        masked(&arguments).join(" ")
    }

    #[test]
    fn secrets_are_masked_however_they_are_written() {
        let rows = [
            ("kill -TERM 7", "kill -TERM 7"),
            (
                "deploy --token abc --retries 3",
                "deploy --token *** --retries 3",
            ),
            ("deploy --api-key=abc", "deploy --api-key=***"),
            ("deploy --API_KEY abc", "deploy --API_KEY ***"),
            ("env PASSWORD=x sh", "env PASSWORD=*** sh"),
            ("env DB_PASSWORD=a=b&c sh", "env DB_PASSWORD=***&c sh"),
            (
                "psql postgres://me:pw@host/db",
                "psql postgres://***@host/db",
            ),
            (
                "psql postgres://me:p@w@host/db",
                "psql postgres://***@host/db",
            ),
            (
                "curl https://host/?token=abc&x=1",
                "curl https://host/?token=***&x=1",
            ),
            ("curl -u me:pw https://host", "curl -u *** https://host"),
            ("curl -H Authorization:xyz", "curl -H Authorization:***"),
            ("mysql -phunter2 -P 3306", "mysql -p*** -P 3306"),
            ("ssh -p22 host", "ssh -p22 host"),
            ("redis-cli --pass abc", "redis-cli --pass ***"),
            ("a {\"password\":\"x\"}", "a {\"password\":***"),
            ("sort --key=2", "sort --key=***"),
            ("keygen monkey keyboard", "keygen monkey keyboard"),
            ("tool --password --verbose", "tool --password --verbose"),
            ("tool --secret=", "tool --secret="),
        ];
        for (line, expected) in rows {
            assert_eq!(mask(line), expected);
        }
        let header = ["-H".to_owned(), "Authorization: Bearer xyz".to_owned()];
        assert_eq!(masked(&header), ["-H", "Authorization:***"]);
    }
}
