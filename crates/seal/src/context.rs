//! Where a record belongs.

/// Everything that a sealed value is bound to. It opens only if all of it is the same again, and in the same
/// deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The tenant.
    pub space: &'a str,
    /// The table it is stored in.
    pub table: &'a str,
    /// The row, by its whole key.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
    /// Whose it is: `shared`, or a user.
    pub owner: &'a str,
    /// Counts changes of the value, so that an earlier one cannot be put back.
    pub generation: i64,
    /// A digest of the addresses that the secret may be sent to, so that they cannot be changed under it. May be empty.
    pub binding: &'a [u8],
}

impl Context<'_> {
    /// The form that is authenticated. Fields carry their length, so that no two contexts give the same bytes.
    pub(crate) fn encode(&self, deployment: &str) -> Vec<u8> {
        let texts = [deployment, self.space, self.table, self.row, self.column, self.owner];
        let length: usize = texts.iter().map(|t| 8 + t.len()).sum();
        let mut out = Vec::with_capacity(length + 16 + self.binding.len());
        for text in texts {
            put(&mut out, text.as_bytes());
        }
        out.extend_from_slice(&self.generation.to_be_bytes());
        put(&mut out, self.binding);
        out
    }
}

/// Appends a field with its length.
pub(crate) fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u64).to_be_bytes());
    out.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Context {
            space: "ab",
            table: "c",
            row: "",
            column: "",
            owner: "",
            generation: 0,
            binding: b"",
        };
        let two = Context {
            space: "a",
            table: "bc",
            ..one
        };
        let three = Context {
            table: "",
            row: "c",
            ..one
        };
        assert_ne!(one.encode("d"), two.encode("d"));
        assert_ne!(one.encode("d"), three.encode("d"));
        assert_ne!(one.encode("d"), one.encode(""));
        assert_eq!(one.encode("d").len(), one.encode("d").capacity());
    }
}
