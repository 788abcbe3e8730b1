//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Display;

/// A page in the making. A family comes first, then its samples.
#[derive(Clone, Debug, Default)]
pub struct Page {
    text: String,
    common: Vec<(&'static str, String)>,
}

impl Page {
    /// A page whose every sample has these labels.
    pub fn new(common: &[(&'static str, &str)]) -> Self {
        let common = common.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Self { text: String::new(), common }
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Begins a family; `kind`: `counter`, `gauge` or `summary`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
    }

    /// One sample of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let common = self.common.iter().map(|(key, text)| (*key, text.as_str()));
        let labels: Vec<_> = common
            .chain(labels.iter().copied())
            .map(|(key, text)| format!("{key}=\"{}\"", escaped(text)))
            .collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.text.extend([name, &labels, " ", &value.to_string(), "\n"]);
    }

    /// A family of one sample without labels of its own.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A summary without quantiles: how many, and their sum.
    pub fn summary(&mut self, name: &str, help: &str, count: u64, sum: f64) {
        self.family(name, "summary", help);
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], count);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_labels_stand_on_every_sample() {
        let mut page = Page::new(&[("node", "n1")]);
        page.single("l2sm_a", "gauge", "one", 1);
        page.family("l2sm_b", "counter", "by reason");
        page.sample("l2sm_b", &[("reason", "no_port")], 2);
        let expected = "# HELP l2sm_a one\n# TYPE l2sm_a gauge\nl2sm_a{node=\"n1\"} 1\n\
                        # HELP l2sm_b by reason\n# TYPE l2sm_b counter\n\
                        l2sm_b{node=\"n1\",reason=\"no_port\"} 2\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
