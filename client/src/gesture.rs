//! Pointers to intents: which finger draws, which two pinch, and what the pen forbids the palm.
//!
//! A small state machine over pointer samples. It knows screen positions and buttons, and nothing of boards or tools:
//! [`crate::editor`] says what the main pointer is for and carries the intents out.
//!
//! The rules: pen and mouse work with the chosen tool. One finger works, two move and zoom; a second finger that lands
//! early means that the first was never meant to draw. Once a pen was seen, fingers only move the view, and while it
//! is near they do nothing: that is the palm.

use glam::DVec2;

use crate::bridge::{PointerDevice, PointerPhase, PointerSample};

/// A second finger within this time, and before the first has moved [`EARLY_WAY`], makes a pinch of it.
const EARLY_MS: f64 = 300.0;
/// Way of the first finger in CSS pixels up to which it may turn out to be half of a pinch.
const EARLY_WAY: f64 = 40.0;
/// Fingers that land this soon after the pen was last heard of are the palm.
const PEN_NEAR_MS: f64 = 600.0;
/// Pinched fingers nearer than this in CSS pixels are one place: the ratio of their distances would jump.
const PINCH_MIN: f64 = 12.0;

const MIDDLE: i8 = 1;
const PEN_ERASER: i8 = 5;

/// What the main pointer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It works with a tool.
    Work,
    /// It moves the view.
    Pan,
    /// Nothing: the board may only be viewed. Fingers still move the view.
    Nothing,
}

/// What a person means. Positions are CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intent {
    /// Begin to work at a place.
    Press {
        /// Where.
        at: DVec2,
        /// 0 to 255, see [`pressure`].
        pressure: u8,
        /// With the pen's eraser end, whatever the tool.
        eraser: bool,
    },
    /// Work on to a place.
    Drag {
        /// Where.
        at: DVec2,
        /// 0 to 255.
        pressure: u8,
    },
    /// The work is done.
    Release,
    /// The work was not meant.
    Abandon,
    /// The view is being moved from now on, until [`Intent::Rest`].
    Grab,
    /// Move the view.
    Pan {
        /// By how much.
        by: DVec2,
    },
    /// Move what is at a place to another and scale it about there.
    Pinch {
        /// Middle of the fingers before.
        from: DVec2,
        /// Middle of the fingers now.
        to: DVec2,
        /// Ratio of their distances.
        factor: f64,
    },
    /// The view rests.
    Rest,
    /// A pointer hovers.
    Hover {
        /// Where.
        at: DVec2,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Idle,
    Working {
        id: i32,
        device: PointerDevice,
        began_ms: f64,
        at: DVec2,
        way: f64,
        pressure: u8,
    },
    Panning {
        id: i32,
        touch: bool,
        at: DVec2,
    },
    Pinching {
        ids: [i32; 2],
        at: [DVec2; 2],
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Gestures {
    state: State,
    pen_seen: bool,
    /// When the pen was last heard of.
    pen_ms: f64,
}

impl Default for Gestures {
    fn default() -> Self {
        Self {
            state: State::Idle,
            pen_seen: false,
            pen_ms: f64::NEG_INFINITY,
        }
    }
}

impl Gestures {
    /// Takes one sample; `emit` gets what it means, in order.
    pub fn pointer(
        &mut self,
        sample: &PointerSample,
        purpose: Purpose,
        emit: &mut impl FnMut(Intent),
    ) {
        let at = DVec2::new(sample.x.into(), sample.y.into());
        if !at.is_finite() {
            return;
        }
        if sample.device == PointerDevice::Pen {
            self.pen_seen = true;
            self.pen_ms = sample.time_ms;
        }
        match sample.phase {
            PointerPhase::Down => self.down(sample, at, purpose, emit),
            PointerPhase::Move => self.moved(sample, at, emit),
            PointerPhase::Up => self.up(sample, at, false, emit),
            PointerPhase::Cancel => self.up(sample, at, true, emit),
            PointerPhase::Leave => {}
        }
    }

    /// Ends whatever goes on as not meant (Escape, or the tool changed under it).
    pub fn cancel(&mut self, emit: &mut impl FnMut(Intent)) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Working { .. } => emit(Intent::Abandon),
            State::Panning { .. } | State::Pinching { .. } => emit(Intent::Rest),
        }
    }

    /// A tool is at work.
    pub const fn is_working(&self) -> bool {
        matches!(self.state, State::Working { .. })
    }

    /// The view is being moved.
    pub const fn is_moving_view(&self) -> bool {
        matches!(self.state, State::Panning { .. } | State::Pinching { .. })
    }

    fn down(
        &mut self,
        sample: &PointerSample,
        at: DVec2,
        purpose: Purpose,
        emit: &mut impl FnMut(Intent),
    ) {
        let touch = sample.device == PointerDevice::Touch;
        match self.state {
            State::Idle => self.start(sample, at, purpose, emit),
            // Its end was lost.
            State::Working { id, .. } if id == sample.id => {
                emit(Intent::Release);
                self.start(sample, at, purpose, emit);
            }
            State::Working {
                id,
                device: PointerDevice::Touch,
                began_ms,
                at: first,
                way,
                ..
            } => {
                if sample.device == PointerDevice::Pen {
                    emit(Intent::Abandon);
                    self.start(sample, at, purpose, emit);
                } else if touch && is_early(sample.time_ms - began_ms, way) {
                    emit(Intent::Abandon);
                    emit(Intent::Grab);
                    self.state = State::Pinching {
                        ids: [id, sample.id],
                        at: [first, at],
                    };
                }
            }
            State::Panning {
                id,
                touch: true,
                at: first,
            } if touch && id != sample.id => {
                self.state = State::Pinching {
                    ids: [id, sample.id],
                    at: [first, at],
                };
            }
            State::Panning { touch: true, .. } | State::Pinching { .. }
                if sample.device == PointerDevice::Pen =>
            {
                emit(Intent::Rest);
                self.start(sample, at, purpose, emit);
            }
            State::Panning { id, .. } if id == sample.id => {
                emit(Intent::Rest);
                self.start(sample, at, purpose, emit);
            }
            State::Working { .. } | State::Panning { .. } | State::Pinching { .. } => {}
        }
    }

    fn start(
        &mut self,
        sample: &PointerSample,
        at: DVec2,
        purpose: Purpose,
        emit: &mut impl FnMut(Intent),
    ) {
        self.state = State::Idle;
        let touch = sample.device == PointerDevice::Touch;
        if touch && sample.time_ms - self.pen_ms < PEN_NEAR_MS {
            return;
        }
        let pans = match sample.button {
            MIDDLE => true,
            0 | PEN_ERASER => {
                purpose == Purpose::Pan || touch && (self.pen_seen || purpose == Purpose::Nothing)
            }
            _ => return,
        };
        if pans {
            self.state = State::Panning {
                id: sample.id,
                touch,
                at,
            };
            emit(Intent::Grab);
        } else if purpose == Purpose::Work {
            let (id, device, began_ms, pressure) =
                (sample.id, sample.device, sample.time_ms, pressure(sample));
            self.state = State::Working {
                id,
                device,
                began_ms,
                at,
                way: 0.0,
                pressure,
            };
            emit(Intent::Press {
                at,
                pressure,
                eraser: sample.button == PEN_ERASER,
            });
        }
    }

    fn moved(&mut self, sample: &PointerSample, now_at: DVec2, emit: &mut impl FnMut(Intent)) {
        match &mut self.state {
            State::Working {
                id,
                at,
                way,
                pressure: last,
                ..
            } if *id == sample.id => {
                *way += at.distance(now_at);
                *at = now_at;
                *last = pressure(sample);
                emit(Intent::Drag {
                    at: now_at,
                    pressure: *last,
                });
            }
            State::Panning { id, at, .. } if *id == sample.id => {
                let by = now_at - *at;
                *at = now_at;
                emit(Intent::Pan { by });
            }
            State::Pinching { ids, at } => {
                let Some(finger) = ids.iter().position(|id| *id == sample.id) else {
                    return;
                };
                let before = *at;
                at[finger] = now_at;
                let apart = |at: [DVec2; 2]| at[0].distance(at[1]).max(PINCH_MIN);
                let middle = |at: [DVec2; 2]| (at[0] + at[1]) / 2.0;
                emit(Intent::Pinch {
                    from: middle(before),
                    to: middle(*at),
                    factor: apart(*at) / apart(before),
                });
            }
            State::Idle if sample.device != PointerDevice::Touch => {
                emit(Intent::Hover { at: now_at });
            }
            State::Idle | State::Working { .. } | State::Panning { .. } => {}
        }
    }

    fn up(
        &mut self,
        sample: &PointerSample,
        now_at: DVec2,
        cancelled: bool,
        emit: &mut impl FnMut(Intent),
    ) {
        match self.state {
            State::Working {
                id,
                began_ms,
                way,
                at,
                pressure,
                ..
            } if id == sample.id => {
                self.state = State::Idle;
                // What was drawn for a while is kept even where the system takes the pointer away.
                if cancelled && is_early(sample.time_ms - began_ms, way) {
                    emit(Intent::Abandon);
                    return;
                }
                if !cancelled && at != now_at {
                    // Lifted pens report no pressure; the line ends as wide as it was.
                    emit(Intent::Drag {
                        at: now_at,
                        pressure,
                    });
                }
                emit(Intent::Release);
            }
            State::Panning { id, .. } if id == sample.id => {
                self.state = State::Idle;
                emit(Intent::Rest);
            }
            State::Pinching { ids, at } => {
                let Some(lifted) = ids.iter().position(|id| *id == sample.id) else {
                    return;
                };
                let left = 1 - lifted;
                self.state = State::Panning {
                    id: ids[left],
                    touch: true,
                    at: at[left],
                };
            }
            State::Idle | State::Working { .. } | State::Panning { .. } => {}
        }
    }
}

fn is_early(after_ms: f64, way: f64) -> bool {
    after_ms < EARLY_MS && way < EARLY_WAY
}

/// Pressure of devices that do not measure it.
const UNMEASURED: u8 = 128;

/// Pressure of a sample as ink holds it. Fingers report the size of their contact at best, so they count as
/// unmeasured, like mice.
pub fn pressure(sample: &PointerSample) -> u8 {
    match sample.device {
        PointerDevice::Pen => (sample.pressure.clamp(0.0, 1.0) * 255.0).round() as u8,
        PointerDevice::Mouse | PointerDevice::Touch => UNMEASURED,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f64, y: f64) -> DVec2 {
        DVec2::new(x, y)
    }

    fn sample(
        id: i32,
        phase: PointerPhase,
        device: PointerDevice,
        x: f32,
        time_ms: f64,
    ) -> PointerSample {
        PointerSample {
            id,
            phase,
            device,
            x,
            y: 0.0,
            pressure: 0.5,
            button: 0,
            time_ms,
        }
    }

    /// Feeds samples with the working purpose.
    fn check(gestures: &mut Gestures, samples: &[PointerSample]) -> Vec<Intent> {
        let mut intents = Vec::new();
        for sample in samples {
            gestures.pointer(sample, Purpose::Work, &mut |intent| intents.push(intent));
        }
        intents
    }

    use PointerDevice::{Mouse, Pen, Touch};
    use PointerPhase::{Cancel, Down, Move, Up};

    #[test]
    fn an_early_second_finger_makes_a_pinch_of_it() {
        let mut gestures = Gestures::default();
        let intents = check(
            &mut gestures,
            &[
                sample(1, Down, Touch, 100.0, 0.0),
                sample(1, Move, Touch, 104.0, 16.0),
                sample(2, Down, Touch, 200.0, 60.0),
                sample(2, Move, Touch, 296.0, 76.0),
                sample(1, Up, Touch, 104.0, 90.0),
                sample(2, Move, Touch, 300.0, 99.0),
                sample(2, Up, Touch, 300.0, 100.0),
            ],
        );
        assert_eq!(
            intents,
            [
                Intent::Press {
                    at: at(100.0, 0.0),
                    pressure: 128,
                    eraser: false
                },
                Intent::Drag {
                    at: at(104.0, 0.0),
                    pressure: 128
                },
                Intent::Abandon,
                Intent::Grab,
                Intent::Pinch {
                    from: at(152.0, 0.0),
                    to: at(200.0, 0.0),
                    factor: 2.0
                },
                Intent::Pan { by: at(4.0, 0.0) },
                Intent::Rest,
            ]
        );
    }

    #[test]
    fn a_late_second_finger_does_not_cost_the_stroke() {
        let mut gestures = Gestures::default();
        let samples = [
            sample(1, Down, Touch, 0.0, 0.0),
            sample(1, Move, Touch, 90.0, 100.0),
            sample(2, Down, Touch, 500.0, 150.0),
            sample(2, Move, Touch, 600.0, 160.0),
            sample(1, Move, Touch, 99.0, 170.0),
            sample(1, Up, Touch, 99.0, 180.0),
        ];
        let intents = check(&mut gestures, &samples);
        assert_eq!(intents.len(), 4, "{intents:?}");
        assert_eq!(intents[3], Intent::Release);
    }

    #[test]
    fn once_a_pen_was_seen_fingers_move_the_view_and_the_palm_does_nothing() {
        let mut gestures = Gestures::default();
        let palm = [
            sample(9, Move, Pen, 10.0, 0.0),
            sample(1, Down, Touch, 50.0, 100.0),
            sample(1, Move, Touch, 55.0, 110.0),
            sample(1, Up, Touch, 55.0, 120.0),
        ];
        assert_eq!(
            check(&mut gestures, &palm),
            [Intent::Hover { at: at(10.0, 0.0) }]
        );
        let finger = [
            sample(2, Down, Touch, 50.0, 5000.0),
            sample(2, Move, Touch, 55.0, 5010.0),
        ];
        assert_eq!(
            check(&mut gestures, &finger),
            [Intent::Grab, Intent::Pan { by: at(5.0, 0.0) }]
        );
        let pen = check(&mut gestures, &[sample(9, Down, Pen, 10.0, 5020.0)]);
        assert_eq!(pen[0], Intent::Rest);
        assert!(matches!(pen[1], Intent::Press { .. }), "the pen takes over");
    }

    #[test]
    fn a_palm_that_lands_before_the_pen_leaves_no_ink() {
        let mut gestures = Gestures::default();
        let intents = check(
            &mut gestures,
            &[
                sample(1, Down, Touch, 0.0, 0.0),
                sample(2, Down, Pen, 90.0, 900.0),
            ],
        );
        assert_eq!(intents[1], Intent::Abandon);
        assert!(matches!(intents[2], Intent::Press { .. }));
    }

    #[test]
    fn buttons_mean_what_they_mean_elsewhere() {
        let press = |button: i8, purpose: Purpose| {
            let mut gestures = Gestures::default();
            let mut intents = Vec::new();
            let sample = PointerSample {
                button,
                ..sample(1, Down, Mouse, 0.0, 0.0)
            };
            gestures.pointer(&sample, purpose, &mut |intent| intents.push(intent));
            intents
        };
        assert_eq!(press(1, Purpose::Work), [Intent::Grab]);
        assert_eq!(press(1, Purpose::Nothing), [Intent::Grab]);
        assert_eq!(press(2, Purpose::Work), []);
        assert_eq!(press(0, Purpose::Pan), [Intent::Grab]);
        assert_eq!(press(0, Purpose::Nothing), []);
        assert!(matches!(
            press(5, Purpose::Work)[..],
            [Intent::Press { eraser: true, .. }]
        ));
    }

    #[test]
    fn a_pointer_taken_away_keeps_what_was_drawn_for_a_while() {
        let drawn = |way: f32| {
            let mut gestures = Gestures::default();
            let samples = [
                sample(1, Down, Touch, 0.0, 0.0),
                sample(1, Move, Touch, way, 50.0),
                sample(1, Cancel, Touch, 0.0, 60.0),
            ];
            check(&mut gestures, &samples).pop()
        };
        assert_eq!(drawn(200.0), Some(Intent::Release));
        assert_eq!(drawn(5.0), Some(Intent::Abandon));
    }

    proptest! {
        #[test]
        fn any_samples_keep_work_in_pairs(samples in proptest::collection::vec(
            (0i32..4, 0u8..5, 0u8..3, any::<f32>(), -1i8..7, 0f64..2000.0, 0u8..3), 0..60)) {
            let mut gestures = Gestures::default();
            let (mut working, mut moving) = (false, false);
            for (id, phase, device, x, button, time_ms, purpose) in samples {
                let phase = [Down, Move, Up, Cancel, PointerPhase::Leave][usize::from(phase)];
                let device = [Mouse, Touch, Pen][usize::from(device)];
                let purpose = [Purpose::Work, Purpose::Pan, Purpose::Nothing][usize::from(purpose)];
                let sample = PointerSample { id, phase, device, x, y: 1.0, pressure: x, button, time_ms };
                let mut wrong = None;
                gestures.pointer(&sample, purpose, &mut |intent| {
                    let fits = match intent {
                        Intent::Press { .. } => !std::mem::replace(&mut working, true) && !moving,
                        Intent::Drag { .. } => working,
                        Intent::Release | Intent::Abandon => std::mem::replace(&mut working, false),
                        Intent::Grab => !std::mem::replace(&mut moving, true) && !working,
                        Intent::Pan { .. } => moving,
                        Intent::Pinch { factor, .. } => moving && factor.is_finite() && factor > 0.0,
                        Intent::Rest => std::mem::replace(&mut moving, false),
                        Intent::Hover { .. } => !working && !moving,
                    };
                    if !fits {
                        wrong = Some(intent);
                    }
                });
                prop_assert_eq!(wrong, None);
                prop_assert_eq!((working, moving), (gestures.is_working(), gestures.is_moving_view()));
            }
        }
    }
}
