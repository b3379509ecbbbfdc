use serde_json::json;

use super::*;

fn run(code: &str, input: &Value) -> Result<Value, ExprError> {
    let mut builder = Builder::new(None);
    builder.add("other", "1");
    let expr = builder.add("field", code);
    builder.add("another", "2 # a comment");
    let library = builder.build().expect("compiles");
    let vars = Map::from_iter([("page".to_owned(), json!(3))]);
    let empty = Map::new();
    library.run(
        expr,
        input,
        Env {
            input: &json!({"a": 1}),
            vars: &vars,
            config: &empty,
            metadata: &empty,
            auth: "bearer",
            response: &json!({"status": 200}),
        },
    )
}

fn refusal(code: &str) -> Fault {
    let mut builder = Builder::new(None);
    builder.add("first", ".");
    builder.add("field", code);
    builder.add("last", ".");
    builder.build().expect_err("must not compile")
}

#[test]
fn an_expression_sees_its_input_and_the_variables() {
    let input = json!({"channel": "C1", "n": null, "list": [1, 2.5, -7, 18_446_744_073_709_551_615_u64, 1e300, true]});
    assert_eq!(run(".", &input), Ok(input.clone()));
    assert_eq!(
        run(
            "{channel, page: $vars.page, a: $input.a, $auth, s: $response.status}",
            &input
        ),
        Ok(json!({
            "channel": "C1", "page": 3, "a": 1, "auth": "bearer", "s": 200
        }))
    );
    assert_eq!(run("empty", &input), Ok(Value::Null));
    assert_eq!(run("1, 2", &input), Ok(json!(1)));
    assert_eq!(run("nan", &input), Ok(Value::Null));
}

#[test]
fn the_standard_library_is_there() {
    for (code, expected) in [
        ("[.[] | select(. > 1)] | map(. * 2) | add", json!(10)),
        (
            "to_entries | map(.value) | sort | reverse | join(\",\")",
            json!("3,2,1"),
        ),
        ("@uri \"a\\(\"/ é\")\"", json!("a%2F%20%C3%A9")),
        ("\"a%2Fb\" | @urid", json!("a/b")),
        ("\"hé\" | @base64", json!("aMOp")),
        ("\"aMOp\" | @base64d", json!("hé")),
        ("\"Foo-bar\" | test(\"^foo\"; \"i\")", json!(true)),
        ("\"a1b22\" | gsub(\"[0-9]+\"; \"#\")", json!("a#b#")),
        ("\"a1b22\" | [scan(\"[0-9]+\")]", json!(["1", "22"])),
        ("\"äx=1\" | capture(\"(?<k>x)=(?<v>.)\")", json!({"k": "x", "v": "1"})),
        ("\"äx\" | match(\"x\") | .offset", json!(1)),
        ("\"a, b\" | split(\", *\"; \"\")", json!(["a", "b"])),
        ("\"#General\" | ltrimstr(\"#\") | ascii_downcase", json!("general")),
        ("\"[1]\" | fromjson | tojson", json!("[1]")),
        ("try error(\"x\") catch .", json!("x")),
    ] {
        assert_eq!(run(code, &json!([1, 2, 3])), Ok(expected), "{code}");
    }
}

/// The process, its clock, its files and its streams are out of reach.
#[test]
fn nothing_outside_compiles() {
    for name in [
        "env",
        "$ENV",
        "now",
        "input",
        "inputs",
        "input_filename",
        "debug",
        "debug(\"x\")",
        "stderr",
        "halt",
        "halt(1)",
        "halt_error",
        "localtime",
        "strflocaltime(\"x\")",
        "input_line_number",
        "$__prog_args",
        "get_search_list",
        "tobytes",
    ] {
        let fault = refusal(name);
        assert_eq!(fault.field, "field", "{name}");
        assert!(fault.message.ends_with("is not defined"), "{name}: {}", fault.message);
    }
    for code in ["include \"x\"; .", "import \"x\" as $x; .", "1) | (2", ".[", "", ". }"] {
        let fault = refusal(code);
        assert_eq!(
            (fault.field.as_str(), fault.message.as_str()),
            ("field", "is not a jq expression"),
            "{code}"
        );
    }
}

#[test]
fn errors_of_the_author_and_of_the_value_differ() {
    let raised = Map::from_iter([("message".to_owned(), json!("no such channel"))]);
    assert_eq!(
        run("error({message: \"no such channel\"})", &json!(1)),
        Err(ExprError::Raised(raised))
    );
    assert!(matches!(run(".a.b", &json!("text")), Err(ExprError::Failed(_))));
}

#[test]
fn output_is_bounded() {
    let limit = |code| matches!(run(code, &json!(null)), Err(ExprError::Failed(text)) if text.contains("too"));
    assert!(limit("[range(2000000)]"));
    assert!(limit("reduce range(200) as $i (1; [.])"));
}

#[test]
fn functions_are_shared() {
    let mut builder = Builder::new(Some("def twice: . * 2; # doubles\ndef four: twice | twice;"));
    let expr = builder.add("x", "four");
    let library = builder.build().expect("compiles");
    let (empty, null) = (Map::new(), Value::Null);
    let env = Env {
        input: &null,
        vars: &empty,
        config: &empty,
        metadata: &empty,
        auth: "none",
        response: &null,
    };
    assert_eq!(library.run(expr, &json!(3), env), Ok(json!(12)));
    assert_eq!(
        Builder::new(Some("def x: nope;")).build().expect_err("unknown").field,
        "functions"
    );
    assert_eq!(
        Builder::new(Some("def x")).build().expect_err("syntax").field,
        "functions"
    );
}
