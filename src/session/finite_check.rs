//! Search for numbers without a JSON form. `serde_json` writes them as `null`, so the value would not read back.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// Returns `true` if a value contains a floating-point number that is NaN or infinite.
pub(super) fn has_non_finite_number<T: Serialize + ?Sized>(value: &T) -> bool {
    matches!(value.serialize(FiniteCheck), Err(CheckEnd::NotFinite))
}

/// Serializer that writes nothing, and stops at a number that is not finite.
#[derive(Clone, Copy)]
struct FiniteCheck;

/// Reason why a check ended early.
#[derive(Debug)]
enum CheckEnd {
    NotFinite,
    /// The value itself reported an error.
    Failed,
}

impl fmt::Display for CheckEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the check ended early")
    }
}

impl std::error::Error for CheckEnd {}

impl ser::Error for CheckEnd {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Failed
    }
}

type Checked = Result<(), CheckEnd>;

macro_rules! accept {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, _: $type) -> Checked { Ok(()) })*
    };
}

/// Methods that return the serializer of a compound value.
macro_rules! descend {
    ($($method:ident($($type:ty),*) -> $compound:ident),* $(,)?) => {
        $(fn $method(self, $(_: $type),*) -> Result<Self::$compound, CheckEnd> { Ok(self) })*
    };
}

impl Serializer for FiniteCheck {
    type Ok = ();
    type Error = CheckEnd;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    accept!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    );

    descend!(
        serialize_seq(Option<usize>) -> SerializeSeq,
        serialize_tuple(usize) -> SerializeTuple,
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant,
        serialize_map(Option<usize>) -> SerializeMap,
        serialize_struct(&'static str, usize) -> SerializeStruct,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant,
    );

    fn serialize_f32(self, number: f32) -> Checked {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Checked {
        match number.is_finite() {
            true => Ok(()),
            false => Err(CheckEnd::NotFinite),
        }
    }

    fn serialize_none(self) -> Checked {
        Ok(())
    }

    fn serialize_unit(self) -> Checked {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Checked {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Checked {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Checked {
        value.serialize(self)
    }

    // Without this method, serde would copy the text, which may be about a patient, into a string.
    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Checked {
        Ok(())
    }
}

macro_rules! compound {
    ($($trait:ident: $($method:ident),*;)*) => {
        $(impl ser::$trait for FiniteCheck {
            type Ok = ();
            type Error = CheckEnd;

            $(fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Checked {
                value.serialize(*self)
            })*

            fn end(self) -> Checked {
                Ok(())
            }
        })*
    };
}

compound!(
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key, serialize_value;
);

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for FiniteCheck {
            type Ok = ();
            type Error = CheckEnd;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Checked {
                value.serialize(*self)
            }

            fn end(self) -> Checked {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);
