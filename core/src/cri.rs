//! The container runtime's log line: `<time> <stdout|stderr> <P|F> <content>`.
