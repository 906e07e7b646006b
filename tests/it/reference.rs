//! Every row of the API's reference document with its test, so that readers can compare the two. A
//! test checks that the tests exist.

/// Section and row of the document, and the test, named by its file below `tests/it`.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    // List Backups
    ("list", "URL parameter: server, UUID or short ID",
        "backups/show::a_server_is_identified_by_its_uuid_or_its_first_eight_digits"),
    ("list", "example response: completed and failed",
        "backups/list::backups_are_listed_newest_first_and_only_the_servers_own"),
    ("list", "example response: meta.pagination, links",
        "backups/list::a_long_list_has_linked_pages"),
    ("list", "an empty list", "backups/list::a_server_without_backups_has_an_empty_list"),
    ("list", "attribute: uuid, name, bytes, created_at",
        "backups/create::a_backup_is_created_and_completes"),
    ("list", "attribute: ignored_files", "backups/create::bodies_of_every_format_are_accepted"),
    ("list", "attribute: sha256_hash",
        "backups/download::a_downloaded_archive_unpacks_to_the_files_that_were_backed_up"),
    ("list", "attribute: completed_at, is_successful of a completed one",
        "backups/create::a_backup_is_created_and_completes"),
    ("list", "attribute: completed_at, sha256_hash null of a failed one",
        "backups/create::a_backup_without_its_directory_fails_with_a_reason"),
    ("list", "attribute: is_locked", "backups/lock::lock_toggles_and_a_body_sets_the_lock"),
    // Get Backup Details
    ("details", "URL parameter: server",
        "backups/show::a_server_is_identified_by_its_uuid_or_its_first_eight_digits"),
    ("details", "URL parameter: backup", "backups/show::a_backup_of_another_server_is_not_found"),
    ("details", "example response", "backups/create::a_backup_is_created_and_completes"),
    // Create Backup
    ("create", "body: name", "backups/create::bodies_of_every_format_are_accepted"),
    ("create", "body: ignored, one pattern a line",
        "backups/create::bodies_of_every_format_are_accepted"),
    ("create", "body: is_locked",
        "backups/create::a_caller_who_may_not_lock_creates_an_unlocked_backup"),
    ("create", "body: what breaks its rules",
        "backups/create::a_body_with_violations_is_refused_with_all_of_them"),
    ("create", "success response", "backups/create::a_backup_is_created_and_completes"),
    ("create", "ignored files format",
        "backups/create::a_request_without_patterns_uses_those_of_the_server"),
    ("create", "process: 1 queued", "backups/create::progress_is_shown_while_a_backup_waits"),
    ("create", "process: 2 compressed and archived, 3 stored and hashed",
        "disks/life_cycle::on_a_folder"),
    ("create", "process: 4 status is updated",
        "backups/cached_list::a_list_shows_every_step_of_a_creation_at_once"),
    ("create", "400 TooManyBackupsException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("create", "409 ConflictingServerStateException",
        "backups/create::a_server_has_one_running_backup_at_a_time"),
    ("create", "507 InsufficientStorageException", "free_space::create_507_when_the_disk_is_full"),
    // Download Backup
    ("download", "URL parameters", "backups/show::a_backup_of_another_server_is_not_found"),
    ("download", "example response: a bucket's own link", "disks/life_cycle::in_a_bucket_of_s3s"),
    ("download", "example response: a link of the service",
        "backups/download::a_downloaded_archive_unpacks_to_the_files_that_were_backed_up"),
    ("download", "URL property: validity of an hour",
        "backups/download::a_link_is_valid_for_an_hour"),
    ("download", "URL property: not valid after it", "backups/download::a_link_expires"),
    ("download", "URL property: each request generates a new one",
        "backups/download::every_get_and_post_creates_a_new_link"),
    ("download", "URL property: no additional authentication",
        "backups/download::a_downloaded_archive_unpacks_to_the_files_that_were_backed_up"),
    ("download", "URL property: tar.gz",
        "backups/download::a_downloaded_archive_unpacks_to_the_files_that_were_backed_up"),
    ("download", "400 BackupNotCompletedException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("download", "400 BackupFailedException",
        "backups/download::only_completed_backups_can_be_downloaded"),
    // Delete Backup
    ("delete", "URL parameters", "backups/show::a_backup_of_another_server_is_not_found"),
    ("delete", "success response: 204, empty",
        "backups/delete::a_deleted_backup_is_gone_from_the_list_and_from_the_disk"),
    ("delete", "400 BackupIsLockedException", "backups/delete::a_locked_backup_cannot_be_deleted"),
    ("delete", "409 ConflictingServerStateException",
        "backups/delete::a_backup_cannot_be_deleted_while_it_is_created_or_restored"),
    // Restore Backup
    ("restore", "URL parameters", "backups/show::a_backup_of_another_server_is_not_found"),
    ("restore", "body: truncate is true when not said",
        "backups/restore::a_restore_brings_back_exactly_the_backed_up_files"),
    ("restore", "body: truncate is false",
        "backups/restore::a_restore_without_truncation_keeps_files_that_the_archive_lacks"),
    ("restore", "success response: 202, empty",
        "backups/restore::a_restore_brings_back_exactly_the_backed_up_files"),
    ("restore", "process: 1 server stop",
        "power::a_container_is_stopped_before_its_server_is_restored_and_not_started_again"),
    ("restore", "process: 2 file clean-up, 3 extraction",
        "backups/restore::a_restore_brings_back_exactly_the_backed_up_files"),
    ("restore", "process: 4 completion",
        "application/servers::a_server_shows_its_restore_until_it_has_ended"),
    ("restore", "400 BackupNotCompletedException",
        "backups/restore::only_completed_backups_can_be_restored"),
    ("restore", "409 ConflictingServerStateException",
        "backups/restore::nothing_is_restored_while_the_server_is_busy"),
    // Toggle Backup Lock
    ("lock", "URL parameters", "backups/show::a_backup_of_another_server_is_not_found"),
    ("lock", "toggles the current state", "backups/lock::lock_toggles_and_a_body_sets_the_lock"),
    ("lock", "the samples' /unlock", "backups/lock::unlocking_twice_succeeds"),
    ("lock", "success response: 204, empty", "backups/lock::lock_toggles_and_a_body_sets_the_lock"),
    // Best practices that concern the service
    ("practices", "multiple retention",
        "maintenance/retention::rules_thin_out_backups_and_a_server_may_have_its_own_days"),
    ("practices", "verify integrity",
        "backups/verify::a_damaged_archive_is_marked_until_it_passes_again"),
    ("practices", "monitor space",
        "application/operator_views::storage_shows_the_backups_of_disks_and_servers"),
    ("practices", "access control",
        "permissions::every_route_answers_every_caller_as_in_the_table"),
    ("practices", "encryption", "disks/life_cycle::on_an_encrypted_folder"),
    // Backup Limits and Storage
    ("limits", "backups per server",
        "backups/create::completed_backups_count_against_the_limit_and_failed_ones_do_not"),
    ("limits", "maximum backup size",
        "backups/create::a_backup_that_grows_too_large_fails_and_leaves_nothing"),
    ("limits", "backup retention, automatic cleanup",
        "maintenance/retention::a_worker_deletes_old_backups_but_never_the_last_good_one"),
    ("limits", "one concurrent backup per server",
        "backups/create::one_of_a_hundred_simultaneous_requests_gets_the_last_free_place"),
    ("storage", "local storage", "disks/life_cycle::on_a_folder"),
    ("storage", "S3 compatible", "disks/life_cycle::in_a_bucket_of_s3s"),
    ("storage", "Google Cloud", "disks/life_cycle::in_a_bucket_of_google"),
    ("lifecycle", "1 creation, 2 storage", "disks/life_cycle::on_a_folder"),
    ("lifecycle", "3 retention, 4 cleanup",
        "maintenance/retention::a_dry_run_shows_deletions_with_reasons_and_a_run_performs_them"),
    // Common Error Codes
    ("errors", "400 TooManyBackupsException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupNotCompletedException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupFailedException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "400 BackupIsLockedException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "401 InvalidCredentialsException",
        "backups/show::invalid_credentials_are_all_refused_alike"),
    ("errors", "403 InsufficientPermissionsException",
        "refusals::every_endpoint_refuses_missing_keys_permissions_and_objects_alike"),
    ("errors", "404 NotFoundHttpException",
        "backups/show::every_path_and_method_is_answered_in_the_one_error_format"),
    ("errors", "409 ConflictingServerStateException",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("errors", "507 InsufficientStorageException",
        "free_space::create_507_when_one_more_like_the_last_would_exceed_the_quota_by_a_byte"),
    // Required Permissions
    ("permissions", "backup.read, .create, .download, .delete, .restore",
        "permissions::every_route_answers_every_caller_as_in_the_table"),
    ("permissions", "a server that is not the caller's",
        "permissions::another_users_server_is_not_found_rather_than_forbidden"),
    // Monitoring Backup Status
    ("states", "creating: view details only",
        "refusals::every_refusal_of_the_reference_has_its_status_code_and_text"),
    ("states", "completed: download, delete, restore, lock and unlock",
        "disks/life_cycle::on_a_folder"),
    ("states", "failed: view details, delete",
        "backups/delete::row_15_a_failed_backup_and_one_without_an_archive_can_be_deleted"),
    ("progress", "completed_at is null until it has finished",
        "backups/create::a_backup_is_created_and_completes"),
    ("progress", "polling shows each change",
        "backups/cached_list::a_list_shows_every_final_state_at_once"),
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
