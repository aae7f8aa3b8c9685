// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Calendar} from "../../src/libraries/Calendar.sol";
import {VM} from "../base/Vm.sol";

/// @title CalendarTest: the year against known seconds and against counting
contract CalendarTest {
    function testKnownSeconds() external pure {
        VM.assertEq(Calendar.yearOf(0), 1970, "1970-01-01 00:00:00");
        VM.assertEq(Calendar.yearOf(946_684_799), 1999, "1999-12-31 23:59:59");
        VM.assertEq(Calendar.yearOf(946_684_800), 2000, "2000-01-01 00:00:00");
        VM.assertEq(Calendar.yearOf(951_782_400), 2000, "2000-02-29 00:00:00");
        VM.assertEq(Calendar.yearOf(951_868_800), 2000, "2000-03-01 00:00:00");
        VM.assertEq(Calendar.yearOf(978_307_199), 2000, "2000-12-31 23:59:59, day 366");
        VM.assertEq(Calendar.yearOf(978_307_200), 2001, "2001-01-01 00:00:00");
        VM.assertEq(Calendar.yearOf(1_830_297_599), 2027, "2027-12-31 23:59:59");
        VM.assertEq(Calendar.yearOf(1_830_297_600), 2028, "2028-01-01 00:00:00");
        VM.assertEq(Calendar.yearOf(4_102_444_800), 2100, "2100-01-01 00:00:00");
        VM.assertEq(Calendar.yearOf(4_133_980_799), 2100, "2100-12-31 23:59:59, no leap year");
        VM.assertEq(Calendar.yearOf(4_133_980_800), 2101, "2101-01-01 00:00:00");
    }

    /// @dev Each year's first and last second, for 600 years.
    function testEveryNewYear() external pure {
        uint256 second;
        for (uint256 year = 1970; year < 2570; ++year) {
            VM.assertEq(Calendar.yearOf(second), year, "its first second");
            bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            second += leap ? 366 days : 365 days;
            VM.assertEq(Calendar.yearOf(second - 1), year, "its last second");
        }
    }

    /// @dev Every day of 401 years, so of a whole era and over its end.
    function testEveryDay() external pure {
        uint256 day;
        for (uint256 year = 1970; year <= 2370; ++year) {
            bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            uint256 end = day + (leap ? 366 : 365);
            for (; day < end; ++day) {
                if (Calendar.yearOf(day * 1 days) != year) {
                    VM.assertEq(day, year, "wrong on this day");
                }
            }
        }
    }

    function testYearsRise(uint40 earlier, uint32 later) external pure {
        uint256 first = Calendar.yearOf(earlier);
        uint256 then = Calendar.yearOf(uint256(earlier) + later);
        VM.assertGe(then, first, "time passes");
        VM.assertGe(uint256(later) / 365 days + 1, then - first, "and not too fast");
    }
}
