//! The contract of the store, the same for every engine: a function per sentence, and one list of them below.
#![cfg(any(feature = "sqlite", feature = "postgres"))]

mod audit;
mod connections;
mod connectors;
mod copying;
mod due;
mod engines;
mod fixtures;
mod flows;
mod jobs;
mod keys;
mod limits;
mod refresh;
mod sessions;
mod tallies;
mod transfer;
mod upkeep;
mod vault;
mod walks;

use std::sync::Arc;

use async_trait::async_trait;
use valetkey_store::Store;

/// A place where a store can be opened again and again.
#[async_trait]
trait Engine: Sync {
    /// Opens it. The store before must be dropped.
    async fn open(&self) -> Arc<dyn Store>;

    /// Another place of the same kind, with nothing in it.
    async fn another(&self) -> Box<dyn Engine>;
}

/// Every sentence on every engine, each in a place of its own. `PostgreSQL` is there twice, because behind a pooler
/// nothing may be kept in a session.
macro_rules! contract {
    ($($subject:ident: $($sentence:ident)+;)+) => {
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $sentence() {
                    crate::$subject::$sentence(&crate::engines::Sqlite::new()).await;
                })+
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $sentence() {
                    if let Some(engine) = crate::engines::Postgres::new().await {
                        crate::$subject::$sentence(&engine).await;
                    }
                })+
            })+
        }

        #[cfg(feature = "postgres")]
        mod g30_postgres_behind_a_pooler {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $sentence() {
                    if let Some(engine) = crate::engines::Pooled::new().await {
                        crate::$subject::$sentence(&engine).await;
                    }
                })+
            })+
        }
    };
}

contract! {
    vault:
        a_new_store_takes_one_vault
        of_racing_vaults_one_stays
        data_keys_come_oldest_first
        a_data_key_is_there_once_for_each_master_key
        data_keys_are_replaced_only_from_what_they_were
        of_racing_replacements_of_data_keys_one_is_written
        a_restore_is_noted_and_its_time_is_only_raised
        a_clock_of_the_store_does_not_go_back
        a_probe_writes_each_time;
    keys:
        a_key_is_read_back_as_it_was_written
        an_id_is_used_once
        of_racing_first_keys_one_is_written
        keys_are_listed_oldest_first
        keys_are_walked_in_pages_that_join
        a_removed_key_is_gone;
    sessions:
        a_session_is_read_back_as_it_was_written
        a_use_of_a_session_is_noted_and_never_taken_back
        of_all_that_would_ask_about_a_session_one_does
        a_session_is_renewed_by_whoever_asked_last
        a_session_that_was_ended_is_gone
        all_sessions_of_a_person_end_at_once
        a_link_signs_in_once
        of_racing_browsers_one_takes_a_link
        sweeping_removes_sessions_and_links_that_ended;
    connectors:
        a_connector_is_read_back_as_it_was_written
        an_id_is_used_once_in_a_space
        a_connector_is_replaced_only_from_the_version_before
        of_racing_replacements_one_is_written
        connectors_are_listed_by_id_in_pages
        what_connectors_are_called_is_read_in_the_same_order
        connectors_are_read_together_by_their_ids
        removing_a_connector_takes_everything_of_it_and_nothing_else
        a_connector_with_a_connection_stays
        of_a_connection_that_is_made_during_a_deletion_somebody_knows
        removing_nothing_leaves_no_record;
    flows:
        a_flow_is_read_back_as_it_was_written
        an_owner_has_only_so_many_waiting_flows
        racing_starts_do_not_pass_the_limit
        of_fifty_callbacks_one_takes_the_flow
        a_taken_flow_is_erased_and_remembered
        an_expired_flow_is_removed_instead_of_taken
        a_taken_flow_is_kept_until_its_end_is_noted_once
        the_first_browser_is_bound
        of_racing_browsers_one_is_bound
        a_used_ticket_opens_nothing
        sweeping_removes_what_ended_and_no_more_than_asked;
    connections:
        a_connection_is_read_back_as_it_was_written
        a_connection_is_written_only_with_a_greater_generation
        of_racing_connects_with_one_generation_one_is_written
        connecting_again_ends_the_intent
        a_disconnect_leaves_a_tombstone
        a_disconnect_needs_the_generation
        a_disconnect_and_its_job_come_together
        a_tombstone_is_not_disconnected_again
        a_tombstone_is_replaced_only_by_a_greater_generation
        connections_are_listed_by_owner_and_name_in_pages
        connections_are_read_together_by_their_keys
        a_shared_account_is_noticed
        everything_survives_a_restart;
    walks:
        every_walk_leads_past_its_rows_in_order_and_pages_join
        a_walk_leads_past_tombstones_and_a_state_that_changed;
    refresh:
        the_lease_is_held_by_one
        of_racing_claims_one_is_held
        a_lease_that_ended_is_taken_over_with_its_intent
        a_claim_needs_the_generation_and_an_active_connection
        a_new_pair_raises_the_generation_and_ends_the_intent
        a_second_finish_of_one_generation_is_lost
        of_racing_finishes_one_is_done
        of_refreshes_at_the_same_time_each_gets_its_own_outcome
        a_refresh_under_way_cannot_bring_a_connection_back
        a_release_frees_the_lease_and_keeps_the_generation
        a_release_can_ask_for_a_person
        only_the_holder_releases
        a_new_pair_makes_the_connection_active
        an_intent_survives_a_restart;
    due:
        a_claimed_connection_is_due_when_its_lease_ends
        a_lease_is_extended_only_by_its_holder
        a_lease_that_is_cut_short_brings_forward_when_the_connection_is_due
        what_is_due_comes_longest_due_first_and_only_if_active
        a_space_with_much_that_is_due_does_not_hide_the_others
        a_refresh_says_when_the_connection_is_due_next
        a_connection_is_postponed_at_its_generation_and_while_active;
    upkeep:
        connectors_of_all_spaces_are_scanned_in_pages
        connections_of_all_spaces_are_scanned_without_tombstones
        resealing_a_connector_needs_its_version_and_changes_nothing_else
        resealing_a_connection_needs_its_generation_and_changes_nothing_else
        a_use_is_noted_and_never_taken_back
        uses_of_what_is_gone_are_passed_over
        tombstones_are_swept_when_their_time_is_over_and_no_more_than_asked;
    jobs:
        a_job_is_claimed_as_it_was_written
        an_id_of_a_job_is_used_once_in_a_space
        jobs_are_claimed_longest_due_first_and_no_more_than_asked
        of_racing_callers_one_gets_a_job
        a_job_that_nobody_finished_comes_back
        a_postponed_job_is_due_when_it_was_said
        a_finished_job_is_gone_and_leaves_one_record
        a_job_outlives_its_connector_and_a_restart;
    transfer:
        every_record_arrives_as_it_was
        pages_of_any_size_join_to_the_same_records
        a_record_that_is_there_already_fails_the_import_and_nothing_is_written
        a_page_begins_after_a_record_of_its_own_table
        records_of_the_audit_log_go_on_after_those_that_arrived;
    copying:
        a_copy_has_everything_and_a_second_one_finds_nothing_to_do
        a_copy_that_was_cut_off_is_taken_up_where_it_stopped
        a_copy_into_a_store_with_records_of_its_own_is_refused;
    audit:
        records_are_read_newest_first_as_they_were_written
        every_filter_chooses
        pages_join_without_gaps
        a_change_and_its_record_come_together;
    tallies:
        counts_are_added_up_also_by_many_at_once
        counts_are_listed_by_time_and_of_one_space
        old_counts_are_swept_and_no_more_than_asked;
    limits:
        of_a_hundred_racing_attempts_ten_are_counted
        the_window_slides
        a_refused_attempt_is_not_counted
        subjects_and_buckets_are_apart
        a_limit_of_nothing_refuses_everything
        attempts_survive_a_restart
        sweeping_attempts_removes_the_old_ones;
}
