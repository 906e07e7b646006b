//! All tests of the engine, in one binary.
#![cfg(test)]

#[cfg(test)]
mod acls;
#[cfg(test)]
mod attacker;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod faults_of_archives;
#[cfg(test)]
mod faults_of_attributes;
#[cfg(test)]
mod faults_of_backups;
#[cfg(test)]
mod faults_of_reading;
#[cfg(test)]
mod file_systems;
#[cfg(test)]
mod foreign_archives;
#[cfg(test)]
mod generations;
#[cfg(test)]
mod hostile_archives;
#[cfg(test)]
mod hostile_patterns;
#[cfg(test)]
mod hundred_days;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod kept_directory;
#[cfg(test)]
mod kept_files;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod malformed_archives;
#[cfg(test)]
mod odd_file_systems;
#[cfg(test)]
mod old_archives;
#[cfg(test)]
mod page_cache;
#[cfg(test)]
mod pteroignore;
#[cfg(test)]
mod refused_attributes;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod rules_against_git;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod shuffled_archives;
#[cfg(test)]
mod some_paths;
#[cfg(test)]
mod some_paths_in_the_way;
#[cfg(test)]
mod some_paths_killed;
#[cfg(test)]
mod some_paths_verified;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod support;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod swap_methods;
#[cfg(test)]
mod swap_of_children;
#[cfg(test)]
mod tar_builder;
#[cfg(test)]
mod tree_lines;
