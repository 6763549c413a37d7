//! What EC2 answers, as a tree that can be changed: elements with text or with children, no attributes but the root's.

use anyhow::{Context as _, bail};
use quick_xml::{
    Reader,
    escape::{escape, unescape},
    events::Event,
};

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes, as they were written.
    attributes: String,
    /// Its text, where it has no children.
    pub text: String,
    /// What is in it.
    pub children: Vec<Self>,
}

/// Deeper than anything that EC2 says.
const DEPTH: usize = 64;

impl Element {
    /// An element without anything in it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// An element that holds text.
    pub fn leaf(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into(), ..Self::default() }
    }

    /// An element that holds others.
    pub fn with(name: &str, children: Vec<Self>) -> Self {
        Self { name: name.to_owned(), children, ..Self::default() }
    }

    /// The answer to an action: `RunInstancesResponse` and what is in it.
    pub fn answer(action: &str, children: Vec<Self>) -> Self {
        let mut answer = Self::with(&format!("{action}Response"), children);
        answer.attributes = r#" xmlns="http://ec2.amazonaws.com/doc/2016-11-15""#.to_owned();
        answer.children.push(Self::leaf("requestId", "11111111-2222-3333-4444-555555555555"));
        answer
    }

    /// Reads a document.
    ///
    /// # Errors
    /// It is no XML, or deeper than any answer.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(bytes).context("an answer is not UTF-8")?;
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event()? {
                Event::Start(start) => {
                    if open.len() > DEPTH {
                        bail!("an answer is nested too deeply");
                    }
                    open.push(Self::started(&start));
                }
                Event::Empty(start) => {
                    let element = Self::started(&start);
                    open.last_mut().context("outside of the document")?.children.push(element);
                }
                Event::End(_) => {
                    let mut element = open.pop().context("an end without a start")?;
                    if !element.children.is_empty() {
                        element.text.clear();
                    }
                    open.last_mut().context("an end without a start")?.children.push(element);
                }
                Event::Text(part) => {
                    open.last_mut().context("outside of the document")?.text += &part;
                }
                Event::GeneralRef(name) => {
                    open.last_mut().context("outside of the document")?.text +=
                        &unescape(&format!("&{};", &*name))?;
                }
                Event::CData(part) => {
                    open.last_mut().context("outside of the document")?.text += &part;
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let [document] = &mut open[..] else { bail!("an answer ends too early") };
        document.children.pop().context("an answer is empty")
    }

    fn started(start: &quick_xml::events::BytesStart<'_>) -> Self {
        let name = start.name().as_ref().to_owned();
        let attributes = start.attributes_raw().to_owned();
        Self { name, attributes, ..Self::default() }
    }

    /// The document, as it is sent.
    pub fn to_xml(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) {
        let Self { name, attributes, text, children } = self;
        if children.is_empty() && text.is_empty() {
            to.push_str(&format!("<{name}{attributes}/>"));
            return;
        }
        to.push_str(&format!("<{name}{attributes}>"));
        to.push_str(&escape(text.as_str()));
        for child in children {
            child.write(to);
        }
        to.push_str(&format!("</{name}>"));
    }

    /// What lies at a path: `instanceState/name`.
    pub fn find(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |at, name| at.children.iter().find(|child| child.name == name))
    }

    /// What lies at a path, to change it.
    pub fn find_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('/').try_fold(self, |at, name| at.children.iter_mut().find(|child| child.name == name))
    }

    /// The text at a path; empty where there is none.
    pub fn get(&self, path: &str) -> &str {
        self.find(path).map_or("", |element| &element.text)
    }

    /// The items of the list at a path.
    pub fn items(&self, path: &str) -> impl Iterator<Item = &Self> {
        self.find(path).into_iter().flat_map(|list| list.children.iter().filter(|item| item.name == "item"))
    }

    /// Sets the text of a child, which is made where it is not there.
    pub fn set(&mut self, name: &str, text: impl Into<String>) {
        self.put(Self::leaf(name, text));
    }

    /// Puts a child in place of the one with its name.
    pub fn put(&mut self, child: Self) {
        match self.children.iter_mut().find(|old| old.name == child.name) {
            Some(old) => *old = child,
            None => self.children.push(child),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn what_is_read_is_written_again() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"x\"><a>1 &amp; &lt;2</a><b/><set><item><k>v</k></item></set></R>";
        let mut tree = Element::parse(text.as_bytes()).unwrap();
        assert_eq!(tree.get("a"), "1 & <2");
        assert_eq!(tree.items("set").map(|item| item.get("k")).collect::<Vec<_>>(), ["v"]);
        assert_eq!(tree.to_xml(), text);
        tree.set("b", "new");
        assert_eq!(Element::parse(tree.to_xml().as_bytes()).unwrap(), tree);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["", "<a>", "<a></b>", "no", &"<a>".repeat(1000)] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{text:.20}");
        }
    }
}
