//! Every row of the API's reference document with its test, so that readers can compare the two. A
//! test checks that the tests exist.

/// Section and row of the document, and the test, named by its file below `tests/it`.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    // List Backups
    ("list", "URL parameter: server, UUID or short ID", "backups/show::a_server_is_named_by_its_uuid_or_its_first_eight_digits"),
    ("list", "example response: completed and failed", "backups/list::backups_are_listed_newest_first_and_only_the_servers_own"),
    ("list", "example response: meta.pagination, links", "backups/list::a_long_list_comes_in_pages_that_are_linked"),
    ("list", "an empty list", "backups/list::a_server_without_backups_has_an_empty_list"),
    ("list", "attribute: uuid, name, bytes, created_at", "backups/create::a_backup_is_created_and_completes"),
    ("list", "attribute: ignored_files", "backups/create::bodies_of_every_form_are_taken"),
    ("list", "attribute: sha256_hash", "backups/download::what_is_downloaded_unpacks_to_what_was_backed_up"),
    ("list", "attribute: completed_at, is_successful of a completed one", "backups/create::a_backup_is_created_and_completes"),
    ("list", "attribute: completed_at, sha256_hash null of a failed one", "backups/create::a_backup_whose_directory_is_missing_fails_and_says_so"),
    ("list", "attribute: is_locked", "backups/lock::locking_toggles_and_a_body_sets"),
    // Get Backup Details
    ("details", "URL parameter: server", "backups/show::a_server_is_named_by_its_uuid_or_its_first_eight_digits"),
    ("details", "URL parameter: backup", "backups/show::a_backup_that_is_not_the_servers_is_not_found_under_any_name"),
    ("details", "example response", "backups/create::a_backup_is_created_and_completes"),
    // Create Backup
    ("create", "body: name", "backups/create::bodies_of_every_form_are_taken"),
    ("create", "body: ignored, one pattern a line", "backups/create::bodies_of_every_form_are_taken"),
    ("create", "body: is_locked", "backups/create::whoever_may_not_lock_creates_an_unlocked_backup"),
    ("create", "body: what breaks its rules", "backups/create::a_body_that_breaks_rules_is_refused_with_every_rule_named"),
    ("create", "success response", "backups/create::a_backup_is_created_and_completes"),
    ("create", "ignored files format", "backups/create::the_servers_own_patterns_are_used_when_a_request_brings_none"),
    ("create", "process: 1 queued", "backups/create::progress_is_shown_while_a_backup_waits"),
    ("create", "process: 2 compressed and archived, 3 stored and hashed", "disks/life::on_a_folder"),
    ("create", "process: 4 status is updated", "backups/polled::a_list_shows_every_step_of_a_backups_creation_at_once"),
    ("create", "400 TooManyBackupsException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("create", "409 ConflictingServerStateException", "backups/create::one_backup_at_a_time_runs_of_a_server"),
    ("create", "507 InsufficientStorageException", "space::create_507_when_the_disk_is_full"),
    // Download Backup
    ("download", "URL parameters", "backups/show::a_backup_that_is_not_the_servers_is_not_found_under_any_name"),
    ("download", "example response: a bucket's own link", "disks/life::in_a_bucket_of_s3s"),
    ("download", "example response: a link of the service", "backups/download::what_is_downloaded_unpacks_to_what_was_backed_up"),
    ("download", "URL property: validity of an hour", "backups/download::a_link_is_good_for_an_hour"),
    ("download", "URL property: not valid after it", "backups/download::a_link_expires"),
    ("download", "URL property: each request generates a new one", "backups/download::every_request_makes_a_link_of_its_own_by_get_and_by_post"),
    ("download", "URL property: no additional authentication", "backups/download::what_is_downloaded_unpacks_to_what_was_backed_up"),
    ("download", "URL property: tar.gz", "backups/download::what_is_downloaded_unpacks_to_what_was_backed_up"),
    ("download", "400 BackupNotCompletedException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("download", "400 BackupFailedException", "backups/download::only_completed_backups_are_downloaded"),
    // Delete Backup
    ("delete", "URL parameters", "backups/show::a_backup_that_is_not_the_servers_is_not_found_under_any_name"),
    ("delete", "success response: 204, empty", "backups/delete::a_deleted_backup_is_gone_from_the_list_and_from_the_disk"),
    ("delete", "400 BackupIsLockedException", "backups/delete::a_locked_backup_is_not_deleted"),
    ("delete", "409 ConflictingServerStateException", "backups/delete::a_backup_that_is_being_created_or_restored_is_not_deleted"),
    // Restore Backup
    ("restore", "URL parameters", "backups/show::a_backup_that_is_not_the_servers_is_not_found_under_any_name"),
    ("restore", "body: truncate is true when not said", "backups/restore::a_restore_brings_back_what_was_and_nothing_else"),
    ("restore", "body: truncate is false", "backups/restore::a_restore_without_truncation_keeps_what_the_archive_does_not_have"),
    ("restore", "success response: 202, empty", "backups/restore::a_restore_brings_back_what_was_and_nothing_else"),
    ("restore", "process: 1 server stop", "power::a_container_is_stopped_before_its_server_is_restored_and_not_started_again"),
    ("restore", "process: 2 file clean-up, 3 extraction", "backups/restore::a_restore_brings_back_what_was_and_nothing_else"),
    ("restore", "process: 4 completion", "application/servers::a_server_that_is_restored_says_so_until_the_restore_has_ended"),
    ("restore", "400 BackupNotCompletedException", "backups/restore::only_completed_backups_are_restored"),
    ("restore", "409 ConflictingServerStateException", "backups/restore::nothing_is_restored_while_the_server_is_busy"),
    // Toggle Backup Lock
    ("lock", "URL parameters", "backups/show::a_backup_that_is_not_the_servers_is_not_found_under_any_name"),
    ("lock", "toggles the current state", "backups/lock::locking_toggles_and_a_body_sets"),
    ("lock", "the samples' /unlock", "backups/lock::unlocking_twice_is_fine"),
    ("lock", "success response: 204, empty", "backups/lock::locking_toggles_and_a_body_sets"),
    // Best practices that concern the service
    ("practices", "multiple retention", "keeping/retention::rules_of_the_settings_thin_out_and_a_server_may_have_days_of_its_own"),
    ("practices", "verify integrity", "backups/verify::a_whole_archive_passes_and_a_damaged_one_is_marked_until_it_is_whole_again"),
    ("practices", "monitor space", "application/operations::storage_tells_what_disks_and_servers_hold"),
    ("practices", "access control", "permissions::every_route_answers_every_caller_as_the_table_says"),
    ("practices", "encryption", "disks/life::on_an_encrypted_folder"),
    // Backup Limits and Storage
    ("limits", "backups per server", "backups/create::completed_backups_count_against_the_limit_and_failed_ones_do_not"),
    ("limits", "maximum backup size", "backups/create::a_backup_that_grows_too_large_fails_and_leaves_nothing"),
    ("limits", "backup retention, automatic cleanup", "keeping/retention::a_worker_has_old_backups_go_by_itself_but_never_the_last_good_one"),
    ("limits", "one concurrent backup per server", "backups/create::of_a_hundred_requests_at_once_for_one_free_place_one_gets_it"),
    ("storage", "local storage", "disks/life::on_a_folder"),
    ("storage", "S3 compatible", "disks/life::in_a_bucket_of_s3s"),
    ("storage", "Google Cloud", "disks/life::in_a_bucket_of_google"),
    ("lifecycle", "1 creation, 2 storage", "disks/life::on_a_folder"),
    ("lifecycle", "3 retention, 4 cleanup", "keeping/retention::a_dry_run_says_what_would_go_and_why_and_a_run_has_it_go"),
    // Common Error Codes
    ("errors", "400 TooManyBackupsException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupNotCompletedException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupFailedException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupIsLockedException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "401 InvalidCredentialsException", "backups/show::credentials_that_are_none_are_refused_the_same_way"),
    ("errors", "403 InsufficientPermissionsException", "refusals::every_endpoint_says_the_same_without_a_key_without_permission_and_of_what_is_not_there"),
    ("errors", "404 NotFoundHttpException", "backups/show::every_path_and_method_is_answered_in_the_one_error_format"),
    ("errors", "409 ConflictingServerStateException", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "507 InsufficientStorageException", "space::create_507_when_one_more_like_the_last_would_pass_the_quota_to_the_byte"),
    // Required Permissions
    ("permissions", "backup.read, .create, .download, .delete, .restore", "permissions::every_route_answers_every_caller_as_the_table_says"),
    ("permissions", "a server that is not the caller's", "permissions::a_server_that_is_not_the_callers_is_not_found_rather_than_forbidden"),
    // Monitoring Backup Status
    ("states", "creating: view details only", "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("states", "completed: download, delete, restore, lock and unlock", "disks/life::on_a_folder"),
    ("states", "failed: view details, delete", "backups/delete::row_15_a_failed_backup_and_one_whose_archive_is_missing_are_deleted"),
    ("progress", "completed_at is null until it has finished", "backups/create::a_backup_is_created_and_completes"),
    ("progress", "polling shows each change", "backups/polled::a_list_shows_every_end_of_a_backup_at_once"),
];

#[test]
fn every_row_of_the_reference_has_a_test() {
    let tests = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/it"));
    let mut seen = std::collections::BTreeSet::new();
    for (section, row, test) in ROWS {
        assert!(seen.insert((section, row)), "{section}, {row}: twice");
        let (file, name) = test.split_once("::").unwrap();
        let source = fs_err::read_to_string(tests.join(format!("{file}.rs"))).unwrap();
        let function = format!("fn {name}(");
        let at = source.find(&function);
        let before = at.map(|at| source[..at].trim_end_matches("async ").trim_end());
        assert!(
            before.is_some_and(|before| before.ends_with(']')),
            "{section}, {row}: there is no test `{test}`"
        );
    }
}
