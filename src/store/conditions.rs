//! Conditions that are added one by one, each with a parameter of its own.

/// A part of a `WHERE`, and its parameters in their order.
#[derive(Debug)]
pub(super) struct Conditions {
    /// The condition.
    pub sql: String,
    /// From its first free parameter on.
    pub values: Vec<String>,
    first: usize,
}

impl Conditions {
    /// Begins with `sql`, which has parameters up to and without `first`.
    pub fn new(sql: &str, first: usize) -> Self {
        Self {
            sql: sql.to_owned(),
            values: Vec::new(),
            first,
        }
    }

    /// Adds `condition`, where each `?` is this value; without one, nothing.
    pub fn add(&mut self, value: Option<String>, condition: &str) {
        let Some(value) = value else { return };
        let place = format!("${}", self.first + self.values.len());
        self.values.push(value);
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('?', &place));
    }

    /// Adds a condition without parameters.
    pub fn require(&mut self, condition: &str) {
        self.sql.push_str(" AND (");
        self.sql.push_str(condition);
        self.sql.push(')');
    }

    /// Adds that one of the columns contains `text`, in whatever case as far as the database knows.
    pub fn contains(&mut self, text: Option<&str>, columns: &[&str]) {
        let Some(text) = text else { return };
        let escaped = escaped(text);
        // SQLite lowers ASCII only, so that the text is looked for as it was written, too.
        let (exact, lower) = (self.first + self.values.len(), 1);
        let pattern = format!("%{escaped}%");
        let lowered = pattern.to_lowercase();
        self.values.extend([pattern, lowered]);
        let column = |name: &&str| {
            format!(
                "{name} LIKE ${exact} ESCAPE '\\' OR LOWER({name}) LIKE ${} ESCAPE '\\'",
                exact + lower
            )
        };
        let any: Vec<String> = columns.iter().map(column).collect();
        self.require(&any.join(" OR "));
    }
}

/// `text` as a part of a pattern of `LIKE ... ESCAPE '\\'`.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if matches!(char, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_has_its_parameters() {
        let mut all = Conditions::new("a = $1", 2);
        all.add(None, "b = ?");
        all.add(Some("x".into()), "(c = ? OR d = ?)");
        all.contains(Some("5%_"), &["e"]);
        assert_eq!(
            all.sql,
            "a = $1 AND (c = $2 OR d = $2) AND (e LIKE $3 ESCAPE '\\' OR LOWER(e) LIKE $4 ESCAPE '\\')"
        );
        assert_eq!(all.values, ["x", "%5\\%\\_%", "%5\\%\\_%"]);
    }
}
