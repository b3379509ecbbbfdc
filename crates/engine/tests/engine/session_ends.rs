//! When sessions end by themselves.

use std::time::Duration;

use valetkey_core::{ErrorCode, SpaceId};
use valetkey_engine::Visitor;

use crate::support::House;

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn visitor() -> Visitor {
    Visitor {
        space: SpaceId::default_space(),
        address: "192.0.2.1".into(),
        request_id: "a request".into(),
    }
}

/// Opens a session; what goes into the cookie.
async fn sign_in(house: &House) -> String {
    let link = house.engine.new_sign_in_link().await.expect("a link");
    let session = house.engine.sign_in_with_link(link.expose(), None, &visitor()).await;
    session.expect("a session").secret.expose().clone()
}

/// Uses a session.
async fn works(house: &House, secret: &str) -> bool {
    match house.engine.authenticate_session(secret, &visitor(), None).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Unauthenticated);
            false
        }
    }
}

#[tokio::test]
async fn d33_a_session_ends_half_an_hour_after_its_last_use() {
    let house = House::build().await;
    let secret = sign_in(&house).await;
    house.clock.advance(MINUTE * 29);
    assert!(works(&house, &secret).await);
    house.clock.advance(MINUTE * 29);
    // Looking who is signed in is no use.
    let seen = house.engine.session(&secret).await.expect("an answer");
    assert!(seen.is_some());
    house.clock.advance(MINUTE);
    assert!(house.engine.session(&secret).await.expect("an answer").is_none());
    assert!(!works(&house, &secret).await);
}

#[tokio::test]
async fn d33_a_session_that_is_used_all_the_time_ends_after_twelve_hours() {
    let house = House::build().await;
    let secret = sign_in(&house).await;
    for _ in 0..35 {
        house.clock.advance(MINUTE * 20);
        assert!(works(&house, &secret).await);
    }
    house.clock.advance(MINUTE * 20);
    assert!(!works(&house, &secret).await);
}
