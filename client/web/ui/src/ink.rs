//! The chosen tool and the ink of each drawing tool, remembered between visits and told to the engine.

use chalkboard_client::bridge::{Command, ToolKind};
use chalkboard_client::color;
use leptos::prelude::*;

use crate::element::watch;
use crate::palette::{self, HIGHLIGHTER, HIGHLIGHTER_WIDTHS, PEN, PEN_WIDTHS, Swatch};
use crate::settings;
use crate::theme::Theme;
use crate::worker::Engine;

/// Colour and width of a drawing tool.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Nib {
    /// 0xRRGGBB.
    pub(crate) color: u32,
    /// Board pixels.
    pub(crate) width: f32,
}

/// A tool that leaves ink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum InkTool {
    /// Pressure ink.
    Pen,
    /// Wide translucent ink.
    Highlighter,
}

impl InkTool {
    fn kind(self) -> ToolKind {
        match self {
            Self::Pen => ToolKind::Pen,
            Self::Highlighter => ToolKind::Highlighter,
        }
    }

    /// For storage and the style sheet.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Pen => "pen",
            Self::Highlighter => "highlighter",
        }
    }

    /// The colours on offer.
    pub(crate) fn colors(self) -> &'static [Swatch; 8] {
        match self {
            Self::Pen => &PEN,
            Self::Highlighter => &HIGHLIGHTER,
        }
    }

    /// The widths on offer, in board pixels.
    pub(crate) fn widths(self) -> &'static [f32; 4] {
        match self {
            Self::Pen => &PEN_WIDTHS,
            Self::Highlighter => &HIGHLIGHTER_WIDTHS,
        }
    }

    /// The remembered nib, or a good first one: stored as `rrggbb width`; all widths on offer are whole numbers.
    fn load(self) -> Nib {
        let stored = settings::load(self.key()).unwrap_or_default();
        let mut parts = stored.split(' ');
        let color = parts.next().and_then(palette::parse);
        let width = parts
            .next()
            .and_then(|width| width.parse::<u8>().ok())
            .map(f32::from)
            .filter(|width| self.widths().contains(width));
        Nib {
            color: color.unwrap_or(self.colors()[0].color),
            width: width.unwrap_or(self.widths()[1]),
        }
    }
}

/// The tools of this person.
#[derive(Clone, Copy)]
pub(crate) struct Tools {
    /// The tool in hand.
    pub(crate) tool: RwSignal<ToolKind>,
    /// The drawing tool in hand, or the last one that was; what the colours and widths apply to.
    pub(crate) ink_tool: RwSignal<InkTool>,
    theme: Theme,
    pen: RwSignal<Nib>,
    highlighter: RwSignal<Nib>,
}

impl Tools {
    /// As they were left at the last visit; changes are remembered and sent to the engine.
    pub(crate) fn load(engine: Engine, theme: Theme) -> Self {
        let stored = settings::load("tool");
        let ink_tool = if stored.as_deref() == Some("highlighter") {
            InkTool::Highlighter
        } else {
            InkTool::Pen
        };
        let tools = Self {
            // Nobody wants to come back with an eraser in hand.
            tool: RwSignal::new(ink_tool.kind()),
            ink_tool: RwSignal::new(ink_tool),
            theme,
            pen: RwSignal::new(InkTool::Pen.load()),
            highlighter: RwSignal::new(InkTool::Highlighter.load()),
        };
        watch(move || engine.send(Command::SelectTool(tools.tool.get())));
        watch(move || {
            let nib = tools.nib();
            engine.send(Command::SetColor(nib.color));
            engine.send(Command::SetWidth(nib.width));
        });
        tools
    }

    /// Takes a tool.
    pub(crate) fn select(self, tool: ToolKind) {
        let ink_tool = match tool {
            ToolKind::Pen => Some(InkTool::Pen),
            ToolKind::Highlighter => Some(InkTool::Highlighter),
            ToolKind::Eraser | ToolKind::Hand => None,
        };
        if let Some(ink_tool) =
            ink_tool.filter(|ink_tool| *ink_tool != self.ink_tool.get_untracked())
        {
            self.ink_tool.set(ink_tool);
            settings::store("tool", ink_tool.key());
        }
        if tool != self.tool.get_untracked() {
            self.tool.set(tool);
        }
    }

    /// Ink of the drawing tool in hand; reactive.
    pub(crate) fn nib(self) -> Nib {
        self.nib_of(self.ink_tool.get())
    }

    /// Ink of a drawing tool; reactive.
    pub(crate) fn nib_of(self, ink_tool: InkTool) -> Nib {
        self.signal(ink_tool).get()
    }

    /// An ink colour as it shows on the board, for style sheets; reactive.
    pub(crate) fn shown(self, color: u32) -> String {
        palette::css(color::shown(color, self.theme.is_dark()))
    }

    /// Changes the colour, and takes the drawing tool in hand: who picks a colour wants to draw with it.
    pub(crate) fn set_color(self, color: u32) {
        self.change(|nib| nib.color = color);
    }

    /// Changes the width, and takes the drawing tool in hand.
    pub(crate) fn set_width(self, width: f32) {
        self.change(|nib| nib.width = width);
    }

    fn change(self, change: impl FnOnce(&mut Nib)) {
        let ink_tool = self.ink_tool.get_untracked();
        let mut nib = self.signal(ink_tool).get_untracked();
        change(&mut nib);
        settings::store(
            ink_tool.key(),
            &format!("{:06x} {}", nib.color, nib.width as u8),
        );
        self.signal(ink_tool).set(nib);
        self.select(ink_tool.kind());
    }

    fn signal(self, ink_tool: InkTool) -> RwSignal<Nib> {
        match ink_tool {
            InkTool::Pen => self.pen,
            InkTool::Highlighter => self.highlighter,
        }
    }
}
