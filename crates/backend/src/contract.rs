//! The one suite that every backend runs. A case's name is its claim; `contract_tests!` makes a test of each.
//!
//! A case gets a fresh backend. It does not assume that a standard queue keeps order or delivers once only.
#![allow(clippy::unwrap_used, reason = "a suite is a test, wherever it stands")]

mod blobs;
mod directory;
mod fifo;
mod growing;
mod query;
mod queues;
mod rows;
mod transactions;
mod waiting;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::runtime::{Clock, ManualClock};
use tokio::task::JoinHandle;

use crate::Backend;
use crate::error::{ErrorKind, Result};
use crate::store::{Expect, Key, Write};

/// A fresh backend and what a case needs beside it.
pub struct Harness {
    /// Empty, and used by this case only.
    pub backend: Backend,
    /// How time passes.
    pub time: Time,
    /// Cases that this backend does not pass, each with its reason. They end at once and say so.
    pub gaps: &'static [(&'static str, &'static str)],
    /// What has to live as long as the backend: a folder, a server.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// How time passes for a backend.
#[derive(Clone, Debug)]
pub enum Time {
    /// When told to.
    Manual(Arc<ManualClock>),
    /// By itself; cases that need more than `patience` are left out.
    Real {
        /// The clock.
        clock: Arc<dyn Clock>,
        /// The longest wait.
        patience: Duration,
    },
}

impl Harness {
    /// Lets `duration` pass; `false` when that would take too long, and the case shall end.
    pub(crate) async fn pass(&self, duration: Duration) -> bool {
        match &self.time {
            Time::Manual(clock) => {
                clock.advance(duration);
                true
            }
            Time::Real { patience, .. } if duration > *patience => {
                println!("left out: {duration:?} of real time");
                false
            }
            // A little more, for clocks that differ.
            Time::Real { clock, .. } => {
                clock.sleep(duration + Duration::from_millis(200)).await;
                true
            }
        }
    }

    /// Lets `call` come to where it waits for something to happen.
    pub(crate) async fn settle<T: fmt::Debug>(&self, call: &mut Call<T>) {
        for _ in 0..20 {
            let early = poll(call).await;
            assert!(early.is_none(), "it should wait, and gave {early:?}");
            self.round_trip().await;
        }
    }

    /// Lets time pass until `call` ends. Time keeps the backend's own pace, or a wait would be over before its call is.
    pub(crate) async fn pass_until<T>(&self, mut call: Call<T>) -> T {
        let Time::Manual(clock) = &self.time else { return call.await };
        loop {
            if let Some(value) = poll(&mut call).await {
                return value;
            }
            clock.advance(Duration::from_millis(50));
            self.round_trip().await;
        }
    }

    /// What `call` gives now that nothing keeps it waiting but the backend's own pace.
    pub(crate) async fn soon<T>(&self, mut call: Call<T>) -> T {
        if let Time::Real { .. } = self.time {
            return call.await;
        }
        for _ in 0..20_000 {
            if let Some(value) = poll(&mut call).await {
                return value;
            }
            self.round_trip().await;
        }
        panic!("it still waits");
    }

    /// Any call: what was asked before it is done, or nearly so.
    async fn round_trip(&self) {
        let nothing = Write::check(Key::new("nothing", "nothing"), Expect::Anything);
        self.backend.store.write(vec![nothing]).await.unwrap();
    }
}

/// A call that is under way.
pub(crate) type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What `call` gives, if it gives something now.
async fn poll<T>(call: &mut Call<T>) -> Option<T> {
    std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Runs one case on what `make` gives, on a run time of several threads.
pub fn run<Make, Made, Case, Run>(name: &str, make: Make, case: Case)
where
    Make: FnOnce() -> Made,
    Made: Future<Output = Harness>,
    Case: FnOnce(Arc<Harness>) -> Run,
    Run: Future<Output = ()>,
{
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a test can have a run time");
    runtime.block_on(async {
        let harness = make().await;
        match harness.gaps.iter().find(|(gap, _)| *gap == name) {
            Some((_, why)) => println!("left out: {why}"),
            None => case(Arc::new(harness)).await,
        }
    });
}

/// Starts a task that runs at the same time as the case.
#[allow(clippy::disallowed_methods, reason = "races need tasks on several threads; the case awaits each")]
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// Runs `count` tasks at once and returns what they gave.
pub(crate) async fn race<T, Task>(count: usize, task: impl Fn(usize) -> Task) -> Vec<T>
where
    T: Send + 'static,
    Task: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| spawn(task(number))).collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.expect("a racing task does not panic unless its claim fails"));
    }
    results
}

/// Asserts that a call was refused as wrong.
#[track_caller]
pub(crate) fn assert_invalid<T: std::fmt::Debug>(result: Result<T>) {
    match result {
        Err(error) => assert_eq!(error.kind, ErrorKind::Invalid, "{error}"),
        Ok(value) => panic!("a wrong call was taken: {value:?}"),
    }
}

/// The list of cases: hands `area { case ... }` to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_cases {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)*! {
            { $($arguments)* }
            rows {
                a_new_row_reads_back_with_version_one
                each_put_raises_the_version_by_one
                a_row_deleted_and_made_again_starts_anew
                get_answers_in_the_order_of_the_keys
                get_takes_a_hundred_keys_and_no_more
                a_put_that_expects_absence_conflicts_with_the_row_there
                a_put_that_expects_a_version_conflicts_with_any_other
                a_delete_removes_only_what_it_expects
                a_check_changes_nothing
                writes_of_one_call_stand_each_by_itself
                one_call_writes_thousands_of_rows
                one_of_many_racing_makers_wins
                racing_increments_lose_nothing
                a_read_sees_every_acknowledged_write
                bodies_are_any_bytes_up_to_the_limit
                keys_have_1_to_512_bytes
            }
            query {
                a_partition_is_read_in_the_byte_order_of_its_sort_keys
                a_page_starts_behind_a_key_that_need_not_exist
                pages_cover_a_partition_once_in_both_directions
                has_more_is_exact
                partitions_do_not_mix
                query_all_reads_page_after_page
                a_page_has_1_to_1000_rows
            }
            transactions {
                a_transaction_does_all_its_writes
                a_transaction_with_a_conflict_does_nothing_and_names_each
                a_transaction_checks_rows_that_it_does_not_write
                a_transaction_takes_a_hundred_writes_and_no_more
                a_transaction_writes_a_row_once
                one_of_many_racing_transactions_wins
                racing_transfers_keep_the_total
            }
            queues {
                a_message_in_flight_is_hidden
                a_deleted_message_never_comes_again
                a_message_comes_again_when_its_visibility_ends
                extending_hides_a_message_from_now
                extending_by_nothing_shows_it_at_once
                an_old_receipt_does_nothing
                a_given_back_message_comes_again_at_once
                a_message_given_back_with_delay_waits_for_it
                giving_back_is_no_receive
                a_message_received_too_often_becomes_a_dead_letter
                dead_letters_stay_however_often_they_are_received
                a_delayed_message_comes_when_its_time_has_come
                queues_are_apart
                a_call_receives_at_most_what_it_asks_for
                many_messages_all_arrive_with_many_receivers
                depth_counts_what_waits_and_what_is_in_flight
                bodies_are_any_text_up_to_the_limit
                wrong_calls_are_refused
            }
            fifo {
                a_duplicate_is_taken_and_dropped
                deduplication_outlives_deletion
                deduplication_ends_after_its_time
                racing_duplicates_leave_one
                a_group_keeps_its_order
                a_group_is_locked_while_one_of_it_is_in_flight
                groups_do_not_wait_for_each_other
                a_group_goes_on_after_its_first_died
                a_redelivered_message_still_comes_first
                an_expired_receipt_deletes_nothing_of_a_fifo_queue
            }
            waiting {
                an_empty_queue_gives_nothing_after_the_wait
                waiting_ends_when_a_message_is_sent
                waiting_ends_when_a_delay_is_over
                waiting_ends_when_a_visibility_ends
                waiting_ends_when_a_message_is_given_back
                waiting_ends_when_a_group_is_free
                waiting_ends_for_as_many_as_there_are_messages_for
            }
            blobs {
                a_blob_reads_back
                a_taken_name_is_left_alone
                one_of_many_racing_puts_is_new
                a_file_becomes_a_blob
                a_file_does_not_replace_a_blob
                a_name_may_be_the_beginning_of_another
                names_are_listed_by_prefix_in_order
                a_deleted_blob_is_gone_and_its_name_free
                bad_names_are_refused
            }
            growing {
                what_is_appended_reads_back
                what_is_dropped_goes_on_where_it_stopped
                a_growing_object_has_one_holder
                one_of_many_racing_holders_wins
                a_growing_object_becomes_a_blob
                a_growing_object_does_not_replace_a_blob
                what_is_cut_is_gone
                what_is_discarded_is_gone
                growing_objects_are_no_blobs
                growing_objects_have_names_like_blobs
            }
            directory {
                an_import_tells_new_from_changed_from_known
                the_last_of_a_device_in_one_call_wins
                devices_come_in_the_order_of_the_users
                every_field_reads_back_at_its_limits
                a_device_is_named_by_user_platform_app_and_key
                deleted_users_are_forgotten
                dead_devices_are_pruned
                users_are_known_until_they_are_deleted
                a_device_registered_after_its_death_survives
                the_directory_agrees_with_a_map
                racing_imports_lose_nothing
                imports_of_any_size_are_taken
                a_user_has_only_so_many_devices
            }
        }
    };
}

/// Makes a test of each case. `$make` is an async function without arguments that returns a [`Harness`](crate::contract::Harness).
#[macro_export]
macro_rules! contract_tests {
    ($make:expr) => {
        $crate::contract_cases! { [$crate::contract_test_functions] $make }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_test_functions {
    ({ $make:expr } $($area:ident { $($case:ident)* })*) => {
        $crate::contract_test_functions! { @flat { $make } $($($area $case)*)* }
    };
    (@flat { $make:expr }) => {};
    (@flat { $make:expr } $area:ident $case:ident $($rest:tt)*) => {
        #[test]
        fn $case() {
            $crate::contract::run(stringify!($case), $make, $crate::contract::cases::$area::$case);
        }
        $crate::contract_test_functions! { @flat { $make } $($rest)* }
    };
}

macro_rules! publish {
    ({} $($area:ident { $($case:ident)* })*) => {
        /// The cases by area, for `contract_tests!`.
        pub mod cases {
            $(
                #[allow(missing_docs, reason = "a case's name is its claim")]
                pub mod $area {
                    use std::sync::Arc;
                    use super::super::Harness;
                    $(
                        pub async fn $case(harness: Arc<Harness>) {
                            super::super::$area::$case(&harness).await;
                        }
                    )*
                }
            )*
        }
    };
}

contract_cases! { [publish] }
