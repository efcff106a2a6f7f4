//! Kafka settings as every part writes them, and the topic that is created when missing.
