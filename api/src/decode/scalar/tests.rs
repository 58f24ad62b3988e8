//! Tests of what scalars mean. All expected values are what `kubectl create --dry-run=client` of 1.36 makes of them.

use serde_json::{Value, json};

use crate::decode::{Format, document};

fn read(text: &str) -> Result<Value, String> {
    let document = document(text.as_bytes(), Format::Yaml, None).map_err(|error| error.to_string())?;
    Ok(document.value)
}

fn value(text: &str) -> Value {
    read(&format!("x: {text}\n")).unwrap()["x"].take()
}

#[test]
fn plain_scalars() {
    let same = |texts: &str, expected: Value| {
        for text in texts.split_whitespace() {
            assert_eq!(value(text), expected, "{text}");
            assert_eq!(value(&format!("[{text}]")), json!([expected]), "{text}");
        }
    };
    same("y Y yes Yes YES on On ON true True TRUE", json!(true));
    same("off Off OFF n N no No NO false False FALSE", json!(false));
    same("~ null Null NULL", json!(null));
    same("0644 0o644 0_644", json!(420));
    same("0O17 +0o17", json!(15));
    same("-0o17", json!(-15));
    same("0b101", json!(5));
    same("-0b101", json!(-5));
    same("+0b1 0B1 0x_1 1_ +1 1.0 1. 0_x1", json!(1));
    same("0x1F 0X1f +0x1f", json!(31));
    same("-0x1f", json!(-31));
    same("1_000 1e3 1E3 1e+3", json!(1000));
    same("1_0 1__0 +1_0", json!(10));
    same("-1_0", json!(-10));
    same("-1 0b-1", json!(-1));
    same("-0 00 000 0_0 0 +0 0.0 -0.0 1e-400", json!(0));
    same("08 010 +010 0_8 +08", json!(8));
    same("09", json!(9));
    same("-010 -08", json!(-8));
    same("1.5", json!(1.5));
    same(".5 +.5 5e-1", json!(0.5));
    same("-.5", json!(-0.5));
    same("1e-3", json!(0.001));
    same("1.5e300", json!(1.5e300));
    same("1e21", json!(1e21));
    same("1e20", json!(100000000000000000000.0));
    same("1e19", json!(10000000000000000000.0));
    same("1e18", json!(1000000000000000000_i64));
    same("1_0.5", json!(10.5));
    same("1_0e1", json!(100));
    same("9223372036854775807", json!(i64::MAX));
    same("9223372036854775808", json!(9223372036854776000.0));
    same("18446744073709551615 18446744073709551616 0xFFFFFFFFFFFFFFFF", json!(18446744073709552000.0));
    same("-9223372036854775808", json!(i64::MIN));
    same("-9223372036854775809", json!(-9223372036854776000.0));
    same("12e03", json!(12000));
    same("0.1 0.10", json!(0.1));
    same("1.10", json!(1.1));
    same("0.000001", json!(0.000001));
    same("0.0000001", json!(1e-7));
    same("123456789.125", json!(123456789.125));
    same("0888", json!(888));
    same("0o6_4", json!(52));
    same("0_o7", json!(7));
    same("1e1_0", json!(10000000000_i64));
    same("07e1", json!(70));
    same("3.0", json!(3));
    same("100000000000000000000000", json!(1e23));
    same("0b1_0", json!(2));
    same("1e5", json!(100000));
}

#[test]
fn what_stays_text() {
    let texts = [
        "yEs",
        "tRUE",
        "nULL",
        "_1",
        ".",
        "-.",
        "1e400",
        "inf",
        "nan",
        "NaN",
        "Infinity",
        "2001-12-14",
        "2001-12-14t21:59:43.10-05:00",
        "1:30",
        "190:20:30",
        "=",
        "<<",
        "1e",
        "0x",
        "0b",
        "0o",
        "0b2",
        "0o8",
        "0x1p3",
        "+",
        "1-2",
        "1+1",
        "0644a",
        "0x1.8p1",
        "+-1",
        "--1",
        "1.2.3",
        ".5.5",
        "0o",
        "0x-1",
        "0o-7",
        "0o+7",
    ];
    for text in texts {
        assert_eq!(value(text), json!(text), "{text}");
    }
    assert_eq!(value("1,000"), "1,000");
    assert_eq!(value("2001-12-14 21:59:43.10 -5"), "2001-12-14 21:59:43.10 -5");
    // More digits than any integer of the parser has; a shade of difference is left for those of 65 to 128 bits, which are numbers.
    let digest = format!("0x{}", "1f".repeat(20));
    assert_eq!(value(&digest), json!(digest));
}

#[test]
fn style_and_tags_decide() {
    let check = |text: &str, expected: Value| assert_eq!(value(text), expected, "{text}");
    for text in [
        "'yes'",
        "\"yes\"",
        "!!str yes",
        "! yes",
        "!foo yes",
        "&a !!str yes",
        "!!str &a yes",
        "|-\n  yes",
        "\"\\x79es\"",
    ] {
        check(text, json!("yes"));
    }
    check("&a yes", json!(true));
    check("yes # !!str", json!(true));
    check(
        "[!!str yes,!!str no, {a: !!str on,\"b\":off}, no]",
        json!(["yes", "no", {"a": "on", "b": false}, false]),
    );
    check("{\"a\":!!str yes}", json!({"a": "yes"}));
    check("'0644'", json!("0644"));
    check("!!str 0644", json!("0644"));
    check("!!float 1", json!(1));
    check("!foo true", json!("true"));
    check("!foo 0x10", json!("0x10"));
    check(
        "\n- yes\n- !!str yes\n- - no\n- a!\n- ? yes\n  : !x\n".trim_end_matches(": !x\n"),
        json!([true, "yes", [false], "a!", {"true": null}]),
    );
}

#[test]
fn text_before_changes_nothing() {
    for before in [
        "a: \u{fc}\u{1f980}\r\n",
        "\u{feff}",
        "# \u{2014} c\n",
        "a: >\n  b\n  c\n",
        "a: hello !b\n",
        "a: 'x'\n",
        "---\n",
    ] {
        let text = format!("{before}yes: 0644\nz: [on, 1_000]\n");
        let read = read(&text).unwrap();
        assert_eq!((&read["true"], &read["z"]), (&json!(420), &json!([true, 1000])), "{text}");
    }
}

#[test]
fn aliases_mean_what_their_anchors_do() {
    assert_eq!(read("a: &a yes\nb: &b 'yes'\nc: [*a, *b]\n").unwrap()["c"], json!([true, "yes"]));
}

#[test]
fn keys() {
    let check = |key: &str, expected: &str| {
        assert_eq!(value(&format!("\n  {key}: z")), json!({expected: "z"}), "{key}");
    };
    check("y", "true");
    check("Yes", "true");
    check("on", "true");
    check("off", "false");
    check("n", "false");
    check("0644", "420");
    check("0o17", "15");
    check("0x10", "16");
    check("0b11", "3");
    check("1_000", "1000");
    check("1.0", "1");
    check("1.5", "1.5");
    check("010", "8");
    check("08", "8");
    check("1e3", "1000");
    check("1e21", "1e+21");
    check("1e20", "1e+20");
    check("0.0000001", "1e-07");
    check("-0.0", "-0");
    check(".inf", ".inf");
    check("-.inf", "-.inf");
    check(".nan", ".nan");
    check("18446744073709551616", "1.8446744e+19");
    check("2001-12-14", "2001-12-14");
    check("'yes'", "yes");
    check("-1", "-1");
    check("0.1", "0.1");
    check("123456789.125", "1.2345679e+08");
    check("1e-5", "1e-05");
    check("1e6", "1e+06");
    check("1e-4", "0.0001");
    check("3.14159265358979", "3.1415927");
    check("!!str yes", "yes");
    check("\"<<\"", "<<");
    for key in ["~", "null", "9223372036854775808"] {
        assert!(read(&format!("{key}: z")).is_err(), "{key}");
    }
}

#[test]
fn merge_keys() {
    let check = |text: &str, expected: Value| assert_eq!(read(text).unwrap()["x"], expected, "{text}");
    check("x: {a: 1, <<: {a: 2, b: 3}}", json!({"a": 2, "b": 3}));
    check("x: {<<: {a: 2, b: 3}, a: 1}", json!({"a": 1, "b": 3}));
    check("x: {<<: [{a: 1}, {a: 2, b: 3}]}", json!({"a": 1, "b": 3}));
    check("x: {<<: []}", json!({}));
    check("x: {<<: {a: 1}, <<: {a: 2}}", json!({"a": 2}));
    check("x: {\"<<\": {a: 1}}", json!({"<<": {"a": 1}}));
    check("x: {!!merge <<: {a: 1}}", json!({"a": 1}));
    check("b: &b {a: 1}\nx: {<<: *b, c: 2}", json!({"a": 1, "c": 2}));
    check("x: [<<, {<<: {<<: {q: 1}}}]", json!(["<<", {"q": 1}]));
    for value in ["1", "[1]", "~"] {
        let error = read(&format!("x: {{<<: {value}}}")).unwrap_err();
        assert!(error.ends_with("map merge requires map or sequence of maps as the value"), "{error}");
    }
    for value in [".inf", "-.Inf", ".nan"] {
        assert!(read(&format!("x: {value}")).is_err(), "{value}");
    }
}

#[test]
fn merging_cannot_expand_without_bound() {
    let mut bomb = String::from("a0: &a0 {x: x}\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} {{<<: [{before}]}}\n"));
    }
    let error = read(&bomb).unwrap_err();
    assert!(error.contains("exce"), "{error}");
}
