//! A batch as an OTLP message on Kafka: encode, decode, tiling, positions.
