//! Whole requests of a template as a connection would write them now, with holes where the values go. A request that
//! fits is one copy of its image; then its values and its stream are written into it.

use crate::frame::{FRAME_BYTES_DEFAULT, HEAD_BYTES, Head, flag, kind};
use crate::request::Values;
use crate::template::{Part, Template};

/// Templates, and lengths of their values, that a connection alternates between without composing anew.
const IMAGES_MAX: usize = 32;
/// Where a frame head holds the stream.
const STREAM_AT: usize = 5;

/// A HEADERS frame, and the DATA frame behind it if there is a body.
pub(crate) struct Image {
    template: u64,
    generation: u64,
    bytes: Vec<u8>,
    /// Where the values go, in their order.
    holes: Vec<Hole>,
    /// Where the DATA frame begins; 0 for none.
    data_at: usize,
}

struct Hole {
    at: usize,
    bytes: usize,
}

/// A header block with a hole for each varying field.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    holes: Vec<Hole>,
}

impl Block {
    /// Leaves room for the next value.
    pub(crate) fn leave(&mut self, bytes: usize) {
        self.holes.push(Hole { at: self.bytes.len(), bytes });
        self.bytes.resize(self.bytes.len() + bytes, 0);
    }

    #[cfg(test)]
    pub(crate) fn filled(mut self, values: &(impl Values + ?Sized)) -> Vec<u8> {
        for (place, hole) in self.holes.iter().enumerate() {
            values.put(place, &mut self.bytes[hole.at..hole.at + hole.bytes]);
        }
        self.bytes
    }
}

impl Image {
    /// `None` when block or body does not fit a frame of the size that every peer takes.
    pub(crate) fn new(
        template: &Template,
        generation: u64,
        block: Block,
        values: &(impl Values + ?Sized),
    ) -> Option<Image> {
        let body_bytes = template.body_bytes(values);
        if block.bytes.len() > FRAME_BYTES_DEFAULT || body_bytes > FRAME_BYTES_DEFAULT {
            return None;
        }
        let is_end = if body_bytes == 0 { flag::END_STREAM } else { 0 };
        let flags = flag::END_HEADERS | is_end;
        let head = Head { length: block.bytes.len(), kind: kind::HEADERS, flags, stream: 0 };
        let mut image = Image {
            template: template.id(),
            generation,
            bytes: [&head.bytes()[..], &block.bytes].concat(),
            holes: block.holes,
            data_at: 0,
        };
        for hole in &mut image.holes {
            hole.at += HEAD_BYTES;
        }
        image.add_body(template, body_bytes, values);
        Some(image)
    }

    fn add_body(&mut self, template: &Template, body_bytes: usize, values: &(impl Values + ?Sized)) {
        if body_bytes > 0 {
            let head = Head { length: body_bytes, kind: kind::DATA, flags: flag::END_STREAM, stream: 0 };
            self.data_at = self.bytes.len();
            self.bytes.extend_from_slice(&head.bytes());
        }
        for part in template.body() {
            match part {
                Part::Constant(bytes) => self.bytes.extend_from_slice(bytes),
                Part::Varying => {
                    let bytes = values.bytes(self.holes.len());
                    self.holes.push(Hole { at: self.bytes.len(), bytes });
                    self.bytes.resize(self.bytes.len() + bytes, 0);
                }
            }
        }
    }

    /// Whether it is that of these values, as long as `generation` is the encoder's.
    #[inline]
    fn fits(&self, template: u64, generation: u64, values: &(impl Values + ?Sized)) -> bool {
        let is_long_enough = |(place, hole): (usize, &Hole)| values.bytes(place) == hole.bytes;
        self.template == template
            && self.generation == generation
            && self.holes.len() == values.count()
            && self.holes.iter().enumerate().all(is_long_enough)
    }

    /// Appends the request.
    #[inline]
    pub(crate) fn put(&self, values: &(impl Values + ?Sized), stream: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let request = &mut out[start..];
        let stream = stream.to_be_bytes();
        request[STREAM_AT..HEAD_BYTES].copy_from_slice(&stream);
        if self.data_at > 0 {
            request[self.data_at + STREAM_AT..self.data_at + HEAD_BYTES].copy_from_slice(&stream);
        }
        for (place, hole) in self.holes.iter().enumerate() {
            values.put(place, &mut request[hole.at..hole.at + hole.bytes]);
        }
    }
}

/// The images of a connection.
#[derive(Default)]
pub(crate) struct Images {
    images: Vec<Image>,
    /// The one used last: nearly always the one used next.
    last: usize,
    /// Where the next one goes once there is no more room.
    oldest: usize,
}

impl Images {
    #[inline]
    pub(crate) fn get(
        &mut self,
        template: &Template,
        generation: u64,
        values: &(impl Values + ?Sized),
    ) -> Option<&Image> {
        let fits = |image: &Image| image.fits(template.id(), generation, values);
        if !self.images.get(self.last).is_some_and(fits) {
            self.last = self.images.iter().position(fits)?;
        }
        self.images.get(self.last)
    }

    pub(crate) fn put(&mut self, image: Image) {
        // Whatever the encoder said before its table changed is of no use any more.
        let stale = self.images.iter().position(|known| known.generation != image.generation);
        if let Some(position) = stale {
            self.images[position] = image;
        } else if self.images.len() < IMAGES_MAX {
            self.images.push(image);
        } else {
            self.images[self.oldest] = image;
            self.oldest = (self.oldest + 1) % IMAGES_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Field;

    fn template(body: Vec<Part>) -> Template {
        let fields = vec![
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "https"),
            Field::varying(":path"),
        ];
        Template::with_body(fields, body).unwrap()
    }

    /// A block of one byte before the value of the path.
    fn image(template: &Template, generation: u64, values: &[&[u8]]) -> Option<Image> {
        let mut block = Block { bytes: vec![0x83], ..Block::default() };
        block.leave(values[0].len());
        Image::new(template, generation, block, values)
    }

    #[test]
    fn a_request_is_its_image_with_stream_and_values_filled_in() {
        let template = template(vec![Part::constant("<"), Part::Varying, Part::constant(">")]);
        let values: [&[u8]; 2] = [b"/p", b"key"];
        let mut out = b"before".to_vec();
        image(&template, 0, &values).unwrap().put(&values, 0x0102_0305, &mut out);
        let headers = b"\0\0\x03\x01\x04\x01\x02\x03\x05\x83/p";
        let data = b"\0\0\x05\0\x01\x01\x02\x03\x05<key>";
        assert_eq!(out, [&b"before"[..], headers, data].concat());
    }

    #[test]
    fn a_request_without_body_ends_with_its_headers() {
        let (template, values): (_, [&[u8]; 1]) = (template(Vec::new()), [b"/"]);
        let mut out = Vec::new();
        image(&template, 0, &values).unwrap().put(&values, 1, &mut out);
        assert_eq!(out, b"\0\0\x02\x01\x05\0\0\0\x01\x83/");
    }

    #[test]
    fn what_does_not_fit_a_frame_of_any_peer_has_no_image() {
        let body = |bytes| template(vec![Part::constant(vec![0; bytes])]);
        assert!(image(&body(FRAME_BYTES_DEFAULT), 0, &[b"/"]).is_some());
        assert!(image(&body(FRAME_BYTES_DEFAULT + 1), 0, &[b"/"]).is_none());
        assert!(image(&body(1), 0, &[&[b'/'; FRAME_BYTES_DEFAULT]]).is_none());
    }

    #[test]
    fn an_image_serves_its_template_its_lengths_and_its_table_only() {
        let (one, other) = (template(Vec::new()), template(Vec::new()));
        let mut images = Images::default();
        images.put(image(&one, 7, &[b"/1"]).unwrap());
        let mut has = |template: &Template, generation, path: &[u8]| {
            images.get(template, generation, &[path]).is_some()
        };
        assert!(has(&one, 7, b"/2"));
        assert!(!has(&one, 7, b"/longer"));
        assert!(!has(&one, 8, b"/2"));
        assert!(!has(&other, 7, b"/2"));
    }

    #[test]
    fn a_connection_keeps_a_limited_number_of_images_and_no_stale_one_before_a_fresh_one() {
        let templates: Vec<Template> = (0..IMAGES_MAX + 3).map(|_| template(Vec::new())).collect();
        let mut images = Images::default();
        for template in &templates {
            images.put(image(template, 1, &[b"/"]).unwrap());
        }
        assert_eq!(images.images.len(), IMAGES_MAX);
        let known = |images: &mut Images, generation| {
            let is_known = |template: &&Template| images.get(template, generation, &[&b"/"[..]]).is_some();
            templates.iter().filter(is_known).count()
        };
        assert_eq!(known(&mut images, 1), IMAGES_MAX);
        images.put(image(&templates[0], 2, &[b"/"]).unwrap());
        assert_eq!((known(&mut images, 1), known(&mut images, 2)), (IMAGES_MAX - 1, 1));
    }
}
