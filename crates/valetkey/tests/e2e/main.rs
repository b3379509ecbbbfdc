//! The main job and what must never happen, shown on the real binary on a real store.
//!
//! Tests are named after the case that they show. Each has a process, a data directory and providers of its own.

mod support;

mod account_change;
mod accounts;
mod answer_fields;
mod answers;
mod api_access;
mod api_bodies;
mod api_fields;
mod api_keys;
mod api_lists;
mod api_spaces;
mod audit;
mod catalogue;
mod connect_page;
mod connections;
mod console;
mod crash;
mod cross_site;
mod crowds;
mod faults;
mod flow_binding;
mod flow_callback;
mod flow_discovery;
mod flow_limits;
mod flow_push;
mod flow_request;
mod flow_start;
mod guesses;
mod health;
mod oidc;
mod page_text;
mod pages;
mod postgres;
mod recheck;
mod refresh;
mod refresh_end;
mod replicas;
mod restart;
mod restore;
mod return_url;
mod rotation;
mod secrets;
mod sessions;
mod sign_in;
mod slow_clients;
mod step_up;
mod stop;
