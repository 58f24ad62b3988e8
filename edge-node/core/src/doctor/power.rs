//! Whether the board has the power and the cooling to run at its speed.

use super::{Finding, Machine};

/// What the firmware says about power. The bits are those of `vcgencmd get_throttled`: 0 to 3 for now, 16 to 19 for since the start.
pub(super) fn power(machine: &Machine) -> Option<Finding> {
    let Some(bits) = machine.throttled else {
        return machine.voltage_alarm.map(|alarm| match alarm {
            true => Finding::problem(POWER, "the supply's voltage is too low now", SUPPLY),
            false => Finding::good(POWER, "no low voltage was seen"),
        });
    };
    let is_set = |bit: u32| bits & (1 << bit) != 0;
    Some(if is_set(0) {
        Finding::problem(
            POWER,
            "the supply's voltage is too low now: writes to the card may be damaged",
            SUPPLY,
        )
    } else if is_set(16) {
        Finding::warning(POWER, "the supply's voltage was too low since the start", SUPPLY)
    } else if is_set(2) || is_set(1) {
        Finding::problem(POWER, "the processor is slowed down now", COOLING)
    } else if is_set(3) {
        Finding::warning(POWER, "the processor is at its soft temperature limit", COOLING)
    } else if bits >> 17 & 0b111 != 0 {
        Finding::warning(POWER, "the processor was slowed down since the start", COOLING)
    } else {
        Finding::good(POWER, "neither low voltage nor throttling since the start")
    })
}

/// Above this boards begin to slow down.
pub(super) fn temperature(milli_celsius: Option<i64>) -> Option<Finding> {
    let degrees = milli_celsius? / 1000;
    Some(if degrees >= HOT_CELSIUS {
        Finding::warning(TEMPERATURE, format!("{degrees} degrees Celsius"), COOLING)
    } else {
        Finding::good(TEMPERATURE, format!("{degrees} degrees Celsius"))
    })
}

const POWER: &str = "power";
const TEMPERATURE: &str = "temperature";
const SUPPLY: &str = "use the board's own supply (5.1 V, 3 A for a Pi 4, 5 A for a Pi 5) and a short cable";
const COOLING: &str = "add a heat sink or a fan, or give the case air";

/// A Raspberry Pi slows down at 80 degrees (60 for the 3B+ in steps).
const HOT_CELSIUS: i64 = 80;
