//! The contract of the store, the same for every engine: a function per sentence, and one list of them below.
#![cfg(feature = "sqlite")]

mod audit;
mod connections;
mod connectors;
mod fixtures;
mod flows;
mod keys;
mod limits;
mod refresh;
mod vault;

use std::sync::Arc;

use async_trait::async_trait;
use valetkey_store::Store;
use valetkey_store::sqlite::SqliteStore;

/// A place where a store can be opened again and again.
#[async_trait]
trait Engine: Sync {
    /// Opens it. The store before must be dropped.
    async fn open(&self) -> Arc<dyn Store>;
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join("valetkey.db")).expect("a store"))
    }
}

macro_rules! contract {
    ($($subject:ident: $($sentence:ident)+;)+) => {
        mod sqlite {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $sentence() {
                    crate::$subject::$sentence(&crate::Sqlite::new()).await;
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
        a_probe_writes_each_time;
    keys:
        a_key_is_read_back_as_it_was_written
        an_id_is_used_once
        keys_are_listed_oldest_first
        a_removed_key_is_gone;
    connectors:
        a_connector_is_read_back_as_it_was_written
        an_id_is_used_once_in_a_space
        a_connector_is_replaced_only_from_the_version_before
        of_racing_replacements_one_is_written
        connectors_are_listed_by_id_in_pages
        removing_a_connector_takes_everything_of_it_and_nothing_else
        removing_nothing_leaves_no_record;
    flows:
        a_flow_is_read_back_as_it_was_written
        an_owner_has_only_so_many_waiting_flows
        racing_starts_do_not_pass_the_limit
        of_fifty_callbacks_one_takes_the_flow
        a_taken_flow_is_erased_and_remembered
        an_expired_flow_is_removed_instead_of_taken
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
        a_tombstone_is_not_disconnected_again
        a_tombstone_is_replaced_only_by_a_greater_generation
        connections_are_listed_by_owner_and_name_in_pages
        an_owner_sees_their_own_of_one_space
        a_shared_account_is_noticed
        everything_survives_a_restart;
    refresh:
        the_lease_is_held_by_one
        of_racing_claims_one_is_held
        a_lease_that_ended_is_taken_over_with_its_intent
        a_claim_needs_the_generation_and_an_active_connection
        a_new_pair_raises_the_generation_and_ends_the_intent
        a_second_finish_of_one_generation_is_lost
        of_racing_finishes_one_is_done
        a_refresh_under_way_cannot_bring_a_connection_back
        a_release_frees_the_lease_and_keeps_the_generation
        a_release_can_ask_for_a_person
        only_the_holder_releases
        a_new_pair_makes_the_connection_active
        an_intent_survives_a_restart;
    audit:
        records_are_read_newest_first_as_they_were_written
        every_filter_chooses
        pages_join_without_gaps
        a_change_and_its_record_come_together;
    limits:
        of_a_hundred_racing_attempts_ten_are_counted
        the_window_slides
        a_refused_attempt_is_not_counted
        subjects_and_buckets_are_apart
        a_limit_of_nothing_refuses_everything
        attempts_survive_a_restart
        sweeping_attempts_removes_the_old_ones;
}
