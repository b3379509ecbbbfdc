# Short names for `cargo xtask`, which works without just.

# list the recipes
default:
    @just --list

# what CI does
check:
    cargo xtask ci

# all tests; installs what they need
test:
    cargo xtask test

# the tests in a real browser
browser *args:
    cargo xtask browser {{args}}

# a release build with a scripted provider, to click through
demo *args:
    cargo xtask demo {{args}}

# the generated schemas
gen:
    cargo xtask gen

# format everything
fmt:
    cargo fmt --all
