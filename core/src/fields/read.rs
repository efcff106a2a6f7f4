//! Reads all fields of a body, to show or to filter the record.

use std::borrow::Cow;

use super::embedded::{embedded, without_mark};
use super::key::{Field, Key, LevelKey, Place};
use super::names::{ERROR_MESSAGE_RANK, lookup, lookup_in};
use super::path::Path;
use super::quick::{Quick, quick};
use super::scan::{Kind, Member, Members, Value, is_whole, lossy};
use super::shape::{is_inner_record, is_record, level_of_shape};
use super::texts;
use super::verdict::Verdict;
use crate::level::{Level, is_header};

/// Members that most bodies do not exceed: room for them is made at once.
const MEMBERS_USUAL: usize = 16;

/// What a nested place says counts less than what the top says.
const NESTED_RANK: u8 = 4;

/// The fields of one body. Values are texts as the application meant them (JSON strings unescaped, numbers as written).
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub level: Level,
    /// Whether the body names its level; else it is INFO by default.
    pub level_given: bool,
    pub audit: bool,
    /// A `taskId` is given.
    pub task: bool,
    /// The body is a JSON object; else it is text and its message is all of it.
    pub json: bool,
    found: [Option<Found<'a>>; Field::COUNT],
    members: Vec<Member<'a>>,
    /// For each member, what became of it.
    fates: Vec<Fate>,
}

/// One member of `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum<'a> {
    pub key: Cow<'a, str>,
    /// JSON that any strict parser takes.
    pub value: Cow<'a, str>,
}

#[derive(Clone, Debug)]
struct Found<'a> {
    rank: u8,
    text: Cow<'a, str>,
    at: At,
    /// The text is an object or array as JSON.
    nested: bool,
}

/// Where a value was found: member of the body, and member of that member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It is shown as data as well.
    Copied,
    Top(usize),
    Nested(usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Data,
    /// It is a field, or says nothing (a null, a level's own name).
    Gone,
}

/// The message, where it is written as bytes.
pub fn message_of_bytes(body: &[u8]) -> Option<String> {
    if !texts::may_have_bytes(body) {
        return None;
    }
    let fields = read(body);
    let at = match fields.found[Field::Message as usize].as_ref()?.at {
        At::Top(index) => fields.members[index].value,
        At::Nested(index, nested) => {
            let mut members = fields.members[index].value.members()?;
            (0..=nested).map_while(|_| members.next()).last()?.value
        }
        At::Copied => return None,
    };
    texts::text_of_bytes(&at)
}

/// All fields of `body`, whatever it is.
pub fn read(body: &[u8]) -> Fields<'_> {
    let text = without_mark(body);
    if Members::open(text).is_some() {
        if let Some(fields) = Fields::of_object(text, None) {
            return fields;
        }
    } else if let Some(found) = embedded(text)
        && let Some(fields) = Fields::of_object(found.json, Some(found.prefix))
    {
        return fields;
    }
    Fields::of_text(body, text)
}

impl<'a> Fields<'a> {
    fn new(quick: Quick, json: bool) -> Fields<'a> {
        Fields {
            level: quick.level,
            level_given: quick.level_given,
            audit: quick.audit,
            task: quick.task,
            json,
            found: [const { None }; Field::COUNT],
            members: Vec::new(),
            fates: Vec::new(),
        }
    }

    fn of_text(body: &[u8], text: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields::new(quick(body), false);
        // (A line of Windows; the body keeps it.)
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        fields.offer_text(Field::Message, 0, lossy(text), At::Copied);
        fields
    }

    /// `prefix`: what stands before the object. `None` when it is no whole object.
    fn of_object(json: &'a [u8], prefix: Option<&'a [u8]>) -> Option<Fields<'a>> {
        let mut opened = Members::open(json)?;
        let (mut members, mut keys) = (Vec::with_capacity(MEMBERS_USUAL), Vec::with_capacity(MEMBERS_USUAL));
        let mut verdict = Verdict::new();
        while let Some(member) = opened.next_member().ok()? {
            let key = lookup(member.key);
            if let Some(key) = key {
                verdict.see_top(key, &member.value);
            }
            members.push(member);
            keys.push(key);
        }
        let named = verdict.level();
        let own = named.or_else(|| level_of_shape(members.iter().copied(), &mut verdict));
        let seen = Quick::of_object(own, &verdict, prefix);
        let mut fields = Fields::new(seen, true);
        fields.fates = vec![Fate::Data; members.len()];
        fields.members = members;
        for (index, key) in keys.iter().enumerate() {
            match key {
                Some(key) => fields.place_member(index, *key),
                None => {
                    let value = fields.members[index].value;
                    if named.is_none() && is_inner_record(&fields.members[index]) {
                        fields.place_nested(Place::Fields, &value, Some(index));
                    } else {
                        fields.place_unknown(&value);
                    }
                }
            }
        }
        fields.unwrap_message(&keys, verdict.inner_is_worse());
        fields.look_into_message();
        fields.settle();
        if let Some(prefix) = prefix {
            fields.put_before(prefix);
        }
        Some(fields)
    }

    /// A message that only names the object beside it is that object's message; and so it is where the object's level counts.
    fn unwrap_message(&mut self, keys: &[Option<Key>], inner_is_worse: bool) {
        let Some(Found { text, at: At::Top(_), .. }) = &self.found[Field::Message as usize] else { return };
        let is_place = |index: usize| matches!(keys[index], Some(Key::Place(Place::Fields, _)));
        let Some(index) = (0..self.members.len()).find(|&index| {
            let member = &self.members[index];
            is_place(index) && (member.key.to_str() == *text || (inner_is_worse && is_record(&member.value)))
        }) else {
            return;
        };
        let Some(mut members) = self.members[index].value.members() else { return };
        let mut nested = 0;
        while let Ok(Some(member)) = members.next_member() {
            if let Some(Key::Field(Field::Message, 0)) = lookup(member.key)
                && member.value.kind == Kind::String
            {
                let (text, at) = (member.value.to_text(), At::Nested(index, nested));
                self.found[Field::Message as usize] = Some(Found { rank: 0, text, at, nested: false });
                return;
            }
            nested += 1;
        }
    }

    /// A message that is JSON in a text: what it says beside its message, where nothing else does.
    fn look_into_message(&mut self) {
        let Some(text) = self.get(Field::Message).filter(|text| text.starts_with('{')).map(str::to_owned)
        else {
            return;
        };
        let Some(mut members) = Members::open(text.as_bytes()).filter(|_| is_whole(text.as_bytes())) else {
            return;
        };
        while let Ok(Some(member)) = members.next_member() {
            if let Some(Key::Field(field, rank)) = lookup(member.key)
                && !matches!(field, Field::Message | Field::TaskId | Field::Metadata)
                && member.value.kind == Kind::String
                && member.value.raw != b"\"\""
            {
                let text = Cow::Owned(member.value.to_text().into_owned());
                self.offer_text(field, rank + NESTED_RANK, text, At::Copied);
            }
        }
    }

    /// What stands before the object is the message, unless it is but a header and the object has one.
    fn put_before(&mut self, prefix: &'a [u8]) {
        let slot = &mut self.found[Field::Message as usize];
        let has_own = slot.as_ref().is_some_and(|found| found.rank < ERROR_MESSAGE_RANK);
        let text = prefix.trim_ascii();
        if text.is_empty() || (has_own && is_header(text)) {
            return;
        }
        if let Some(Found { at: At::Top(index), .. }) = slot {
            self.fates[*index] = Fate::Data;
        }
        *slot = Some(Found { rank: 0, text: lossy(text), at: At::Copied, nested: false });
    }

    pub fn get(&self, field: Field) -> Option<&str> {
        self.found[field as usize].as_ref().map(|found| &*found.text)
    }

    /// The same, borrowed from the body where it can be; afterwards it is gone.
    pub fn take(&mut self, field: Field) -> Option<Cow<'a, str>> {
        self.found[field as usize].as_mut().map(|found| std::mem::take(&mut found.text))
    }

    /// Not a field any more: it is data again.
    pub fn give_back(&mut self, field: Field) {
        if let Some(Found { at: At::Top(index), .. }) = self.found[field as usize].take() {
            self.fates[index] = Fate::Data;
        }
    }

    /// What the application sent beside the known fields, in its order; a name that comes twice comes twice.
    pub fn data(&self) -> Vec<Datum<'a>> {
        let mut data = Vec::new();
        for (index, (member, fate)) in self.members.iter().zip(&self.fates).enumerate() {
            if *fate == Fate::Gone {
                continue;
            }
            if let Some(value) = self.without_found(index, member) {
                data.push(Datum { key: member.key.to_str(), value });
            }
        }
        data
    }

    /// [`Fields::data`] as one JSON object; `None` when there is none.
    pub fn data_json(&self) -> Option<String> {
        let data = self.data();
        if data.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(64 * data.len());
        for datum in &data {
            out.push(if out.is_empty() { '{' } else { ',' });
            push_json_string(&mut out, &datum.key);
            out.push(':');
            out.push_str(&datum.value);
        }
        out.push('}');
        Some(out)
    }

    /// Any value of a JSON body by its own name or by a dotted path (`order.id`), whether it is a known field or data: strings
    /// unescaped, everything else as it is written. Of a name that comes twice, the first.
    pub fn at(&self, path: &str) -> Option<Cow<'a, str>> {
        self.at_path(&Path::dotted(path)?).map(|(_, text)| text)
    }

    /// The same of a path, and what kind of value it is.
    pub fn at_path(&self, path: &Path) -> Option<(Kind, Cow<'a, str>)> {
        let value = path.value_in(&self.members)?;
        Some((value.kind, value.to_text()))
    }

    /// Whether a member of the body may be called so.
    pub fn may_have(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.key.escaped || member.key.raw == name.as_bytes())
    }

    /// The field's value is an object or array, given as JSON (a message may be one).
    pub fn is_nested(&self, field: Field) -> bool {
        self.found[field as usize].as_ref().is_some_and(|found| found.nested)
    }

    fn place_member(&mut self, index: usize, key: Key) {
        let value = self.members[index].value;
        let at = At::Top(index);
        let is_nothing =
            value.is_null() || (value.raw == b"\"\"" && !matches!(key, Key::Field(Field::Message, _)));
        if is_nothing {
            self.fates[index] = Fate::Gone;
            return;
        }
        match key {
            Key::Field(Field::Message, rank) if value.kind == Kind::Object => {
                self.place_nested(Place::Fields, &value, Some(index));
                if self.found[Field::Message as usize].is_none() {
                    self.offer(Field::Message, rank, &value, at);
                }
            }
            Key::Field(field @ Field::Message, ERROR_MESSAGE_RANK) => {
                self.offer(field, ERROR_MESSAGE_RANK, &value, At::Copied);
            }
            // Of a record that is no audit event it is an object like any other.
            Key::Field(Field::Metadata, _) if !self.audit => self.place_unknown(&value),
            Key::Field(field, rank) => self.offer(field, rank, &value, at),
            Key::Level(LevelKey::Word | LevelKey::Severity) => {
                let says = value
                    .text()
                    .is_some_and(|text| text.raw.eq_ignore_ascii_case(self.level.as_str().as_bytes()));
                if says {
                    self.fates[index] = Fate::Gone;
                }
            }
            Key::Level(_) => {}
            Key::IsAudit => {
                if self.audit && value.kind == Kind::Scalar && value.raw == b"true" {
                    self.fates[index] = Fate::Gone;
                }
            }
            Key::Caller => self.offer_caller(&value, at),
            Key::Place(place, text) => match (value.kind, place) {
                (Kind::Object, _) => self.place_nested(place, &value, Some(index)),
                (Kind::String, Place::Error) => self.offer_error_text(&value, at),
                (Kind::String, Place::Location) if text == Some((Field::File, 0)) => {
                    self.offer_caller(&value, at)
                }
                (Kind::String | Kind::Scalar, _) => {
                    if let Some((field, rank)) = text {
                        self.offer(field, rank, &value, at);
                    }
                }
                (Kind::Array, Place::Error) => self.offer_error_array(&value),
                (Kind::Array, _) => {
                    if let Some((field @ Field::Message, rank)) = text {
                        self.offer(field, rank, &value, at);
                    }
                }
            },
        }
    }

    /// The members of a nested place. `top`: the body's member that it is; `None` when it lies deeper (its values are then
    /// copied, and the whole stays data).
    fn place_nested(&mut self, place: Place, value: &Value<'a>, top: Option<usize>) {
        let Some(mut members) = value.members() else { return };
        let mut index = 0;
        while let Ok(Some(member)) = members.next_member() {
            let at = top.map_or(At::Copied, |top| At::Nested(top, index));
            index += 1;
            if member.value.is_null() {
                continue;
            }
            let is_empty = member.value.raw == b"\"\"";
            match lookup_in(place, member.key) {
                Some(Key::Field(field, ERROR_MESSAGE_RANK)) if member.value.kind == Kind::String => {
                    self.offer(field, ERROR_MESSAGE_RANK, &member.value, At::Copied)
                }
                Some(Key::Field(field, _)) if is_empty && field != Field::Message => {}
                Some(Key::Field(field, rank)) => self.offer(field, rank + NESTED_RANK, &member.value, at),
                Some(Key::Place(nested, _)) if top.is_some() && member.value.kind == Kind::Object => {
                    self.place_nested(nested, &member.value, None)
                }
                Some(Key::Place(Place::Error, _)) if member.value.kind == Kind::String => {
                    self.offer_error_text(&member.value, At::Copied)
                }
                Some(Key::Place(Place::Error, _)) if member.value.kind == Kind::Array => {
                    self.offer_error_array(&member.value)
                }
                _ => {}
            }
        }
    }

    /// An object that nobody knows: errors in it and the ids of requests, which stay where they are, too.
    fn place_unknown(&mut self, value: &Value<'a>) {
        let Some(mut members) = value.members() else { return };
        while let Ok(Some(member)) = members.next_member() {
            use Field::{ErrorCode, ErrorStack, ErrorType, RequestId, SpanId, TraceId};
            if member.value.is_null() || member.value.raw == b"\"\"" {
                continue;
            }
            match lookup(member.key) {
                Some(Key::Field(
                    field @ (ErrorCode | ErrorStack | ErrorType | RequestId | SpanId | TraceId),
                    rank,
                )) => self.offer(field, rank + 2 * NESTED_RANK, &member.value, At::Copied),
                Some(Key::Place(Place::Error, _)) => match member.value.kind {
                    Kind::Object => self.place_nested(Place::Error, &member.value, None),
                    Kind::Array => self.offer_error_array(&member.value),
                    Kind::String | Kind::Scalar => {}
                },
                _ => {}
            }
        }
    }

    /// `file:line`, or an object that says both.
    fn offer_caller(&mut self, value: &Value<'a>, at: At) {
        if value.kind == Kind::Object {
            let top = if let At::Top(top) = at { Some(top) } else { None };
            return self.place_nested(Place::Location, value, top);
        }
        let text = value.to_text();
        match text.rsplit_once(':') {
            Some((file, line)) if is_number(line) && !file.is_empty() => {
                let (file, line) = (file.to_owned(), line.to_owned());
                self.offer_text(Field::Line, 2, Cow::Owned(line), At::Copied);
                self.offer_text(Field::File, 1, Cow::Owned(file), at);
            }
            _ => self.offer(Field::File, 1, value, at),
        }
    }

    /// An error that is a text: with lines it is a stack, else a message.
    fn offer_error_text(&mut self, value: &Value<'a>, at: At) {
        let text = value.to_text();
        if text.contains('\n') {
            self.offer_text(Field::ErrorStack, 3, text, at);
        } else {
            self.offer_text(Field::Message, ERROR_MESSAGE_RANK, text, At::Copied);
        }
    }

    /// Errors as an array: of objects, the first; of texts, type and message (and stack), or the lines of a stack.
    fn offer_error_array(&mut self, value: &Value<'a>) {
        let elements = || value.elements().into_iter().flatten().flatten();
        let Some(first) = elements().next() else { return };
        if first.kind == Kind::Object {
            return self.place_nested(Place::Error, &first, None);
        }
        if first.kind == Kind::Array {
            return elements().for_each(|pair| self.offer_error_pair(&pair));
        }
        let texts: Vec<String> =
            elements().filter(|one| one.kind == Kind::String).map(|one| one.to_text().into_owned()).collect();
        let mut rest = texts.as_slice();
        if let [kind, others @ ..] = rest
            && texts::is_type_name(kind)
        {
            self.offer_text(Field::ErrorType, 5, Cow::Owned(kind.clone()), At::Copied);
            rest = others;
        }
        if let [message, others @ ..] = rest
            && !message.contains('\n')
        {
            self.offer_text(Field::Message, ERROR_MESSAGE_RANK, Cow::Owned(message.clone()), At::Copied);
            if rest.len() < texts.len() || others.is_empty() {
                rest = others;
            }
        }
        if !rest.is_empty() {
            self.offer_text(Field::ErrorStack, 5, Cow::Owned(rest.join("\n")), At::Copied);
        }
    }

    /// `["type", "KeyError"]`.
    fn offer_error_pair(&mut self, pair: &Value<'a>) {
        let mut pair = pair.elements().into_iter().flatten().flatten();
        if let (Some(name), Some(value)) = (pair.next(), pair.next())
            && let Some(name) = name.text()
            && let Some(Key::Field(field, rank)) = lookup_in(Place::Error, name)
        {
            let rank = if field == Field::Message { ERROR_MESSAGE_RANK } else { rank + NESTED_RANK };
            self.offer(field, rank, &value, At::Copied);
        }
    }

    fn offer(&mut self, field: Field, rank: u8, value: &Value<'a>, at: At) {
        let meant = match (field, value.kind) {
            (Field::Message, Kind::Array) => texts::text_of_array(value),
            (Field::Message, Kind::Object) => texts::text_of_buffer(value),
            (Field::ErrorStack, Kind::Array) => texts::lines(value),
            _ => None,
        };
        if let Some(text) = meant {
            return self.offer_text(field, rank, Cow::Owned(text), at);
        }
        let nested = matches!(value.kind, Kind::Object | Kind::Array);
        let fits = match field {
            Field::Metadata => self.audit,
            Field::Message => rank == 0 || value.kind == Kind::String,
            Field::Line | Field::Pid => is_number(&value.to_text()),
            Field::ErrorStack => value.kind == Kind::String,
            // PostgreSQL's code of success.
            Field::ErrorCode => !nested && value.raw != b"\"00000\"",
            _ => !nested,
        };
        if fits {
            let text = match field {
                Field::Metadata => value.to_json(),
                Field::TraceId => texts::trace_id(value.to_text()),
                _ => value.to_text(),
            };
            self.put(Found { rank, text, at, nested }, field);
        }
    }

    fn offer_text(&mut self, field: Field, rank: u8, text: Cow<'a, str>, at: At) {
        self.put(Found { rank, text, at, nested: false }, field);
    }

    fn put(&mut self, offered: Found<'a>, field: Field) {
        let slot = &mut self.found[field as usize];
        if slot.as_ref().is_none_or(|found| offered.rank < found.rank) {
            *slot = Some(offered);
        }
    }

    /// Members that became fields are not data.
    fn settle(&mut self) {
        for found in self.found.iter().flatten() {
            if let At::Top(index) = found.at {
                self.fates[index] = Fate::Gone;
            }
        }
    }

    /// A member's value as JSON, without those of its members that became fields; `None` when nothing is left.
    fn without_found(&self, index: usize, member: &Member<'a>) -> Option<Cow<'a, str>> {
        let gone =
            |nested: usize| self.found.iter().flatten().any(|found| found.at == At::Nested(index, nested));
        let any_gone =
            self.found.iter().flatten().any(|found| matches!(found.at, At::Nested(top, _) if top == index));
        if !any_gone {
            return Some(member.value.to_json());
        }
        let mut out = String::new();
        let mut members = member.value.members()?;
        let mut nested = 0;
        while let Ok(Some(member)) = members.next_member() {
            if !gone(nested) {
                out.push(if out.is_empty() { '{' } else { ',' });
                push_json_string(&mut out, &member.key.to_str());
                out.push(':');
                out.push_str(&member.value.to_json());
            }
            nested += 1;
        }
        if out.is_empty() {
            return None;
        }
        out.push('}');
        Some(Cow::Owned(out))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit())
}

fn push_json_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::String(text.to_owned()).to_string());
}
