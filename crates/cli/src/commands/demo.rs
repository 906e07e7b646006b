//! `holdfast demo`: the main job, end to end, as a story.
use crate::failure::Failure;
pub(super) async fn run(_keep: bool) -> Result<(), Failure> {
    Ok(())
}
