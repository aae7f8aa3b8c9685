// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev An account in one word, from the high bits: flags 8, energy Wh 64, money micro 64, and against
/// replay the latest used interval 24 and a window of 96: bit i says that interval `latest - i` is
/// used (the sliding window of RFC 4303, 3.4.3). Intervals are counted from the ledger's genesis.
type AccountWord is uint256;

using AccountWordLibrary for AccountWord global;

/// @title AccountWordLibrary: packing and unpacking of an account
library AccountWordLibrary {
    uint256 internal constant BALANCE_MAX = type(uint64).max;
    uint256 internal constant INTERVAL_MAX = type(uint24).max;
    uint256 internal constant WINDOW = 96;

    /// @dev The account may not give energy away: not sell, not transfer.
    uint256 internal constant NO_SEND = 1;
    /// @dev The account may not get energy: not buy, not receive.
    uint256 internal constant NO_RECEIVE = 2;

    /// @dev The caller has checked that the balances are at most `BALANCE_MAX`. `flagsPart` and
    /// `replayPart` are as `flagBits` and `replay` give them.
    function pack(uint256 flagsPart, uint256 energy, uint256 money, uint256 replayPart)
        internal
        pure
        returns (AccountWord)
    {
        return AccountWord.wrap(flagsPart | energy << 184 | money << 120 | replayPart);
    }

    function flags(AccountWord word) internal pure returns (uint256) {
        return AccountWord.unwrap(word) >> 248;
    }

    /// @dev The flags where they lie in the word.
    function flagBits(AccountWord word) internal pure returns (uint256) {
        return AccountWord.unwrap(word) & (0xff << 248);
    }

    function energyWh(AccountWord word) internal pure returns (uint256) {
        return uint64(AccountWord.unwrap(word) >> 184);
    }

    function moneyMicro(AccountWord word) internal pure returns (uint256) {
        return uint64(AccountWord.unwrap(word) >> 120);
    }

    /// @dev Latest interval and window together: the low 120 bits.
    function replay(AccountWord word) internal pure returns (uint256) {
        return uint120(AccountWord.unwrap(word));
    }

    function latestInterval(AccountWord word) internal pure returns (uint256) {
        return uint24(AccountWord.unwrap(word) >> WINDOW);
    }

    function usedIntervals(AccountWord word) internal pure returns (uint256) {
        return uint96(AccountWord.unwrap(word));
    }
}
