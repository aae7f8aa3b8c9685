// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title Calendar: the calendar year of a UTC second
library Calendar {
    uint256 private constant _DAYS_PER_ERA = 146_097; // 400 years of the Gregorian calendar
    uint256 private constant _DAYS_TO_EPOCH = 719_468; // from 0000-03-01 to 1970-01-01

    /// @dev Hinnant's `civil_from_days`: years that begin on 1 March have the leap day last, so that
    /// a day's year is a division. January and February (from day 306 on) belong to the next one. His
    /// terms for centuries and eras are left out: without them some 1 March counts as one more day of
    /// the year before, which ends in the same calendar year.
    function yearOf(uint256 timestamp) internal pure returns (uint256) {
        unchecked {
            uint256 day = uint64(timestamp) / 1 days + _DAYS_TO_EPOCH;
            uint256 dayOfEra = day % _DAYS_PER_ERA;
            uint256 yearOfEra = (dayOfEra - dayOfEra / 1460) / 365;
            uint256 dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
            return day / _DAYS_PER_ERA * 400 + yearOfEra + (dayOfYear < 306 ? 0 : 1);
        }
    }
}
