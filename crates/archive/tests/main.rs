//! The engine's tests, in one binary.
#![cfg(test)]

#[cfg(test)]
mod faults;
#[cfg(test)]
mod hostile_archives;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod rules_against_git;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod support;
#[cfg(test)]
mod swap;
