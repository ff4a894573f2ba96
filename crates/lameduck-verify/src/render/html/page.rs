//! Owns writing HTML so that nothing a target said can become markup: literal markup is `&'static str`, all else is
//! escaped on its way in.
//! Not: what a page says.

use std::fmt::{Display, Write as _};

use crate::render::escape::markup;

/// A page that is being written.
pub(super) struct Page(String);

impl Page {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(256 * 1024))
    }

    /// Markup of our own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        self.0.push_str(&markup(&text.to_string()));
        self
    }

    /// `<tag name="value"…>`; values are escaped.
    pub(super) fn open(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &dyn Display)],
    ) -> &mut Self {
        let _ = write!(self.0, "<{tag}");
        for (name, value) in attributes {
            let _ = write!(self.0, " {name}=\"{}\"", markup(&value.to_string()));
        }
        self.0.push('>');
        self
    }

    pub(super) fn close(&mut self, tag: &'static str) -> &mut Self {
        let _ = write!(self.0, "</{tag}>");
        self
    }

    /// An element with nothing but text in it.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        class: &'static str,
        text: impl Display,
    ) -> &mut Self {
        if class.is_empty() {
            self.open(tag, &[]);
        } else {
            self.open(tag, &[("class", &class)]);
        }
        self.text(text).close(tag)
    }

    /// A straight line of a drawing.
    pub(super) fn line(
        &mut self,
        class: &'static str,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
    ) -> &mut Self {
        self.open(
            "line",
            &[
                ("class", &class),
                ("x1", &at(x1)),
                ("y1", &at(y1)),
                ("x2", &at(x2)),
                ("y2", &at(y2)),
            ],
        )
        .close("line")
    }

    /// A rectangle of a drawing, by its corner and its size.
    pub(super) fn rect(
        &mut self,
        class: &'static str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
    ) -> &mut Self {
        self.open(
            "rect",
            &[
                ("class", &class),
                ("x", &at(x)),
                ("y", &at(y)),
                ("width", &at(width)),
                ("height", &at(height)),
            ],
        )
        .close("rect")
    }

    /// Words of a drawing; `anchor` is `start`, `middle` or `end`.
    pub(super) fn label(
        &mut self,
        class: &'static str,
        (x, y): (f64, f64),
        anchor: &'static str,
        words: impl Display,
    ) -> &mut Self {
        self.open(
            "text",
            &[
                ("class", &class),
                ("x", &at(x)),
                ("y", &at(y)),
                ("text-anchor", &anchor),
            ],
        )
        .text(words)
        .close("text")
    }

    /// What is safe within a `script` or `style` element: our own, or JSON that went through `json_in_script`.
    pub(super) fn block(&mut self, content: &str) -> &mut Self {
        self.0.push_str(content);
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A coordinate: one digit behind the point is finer than a pixel.
pub(super) fn at(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
