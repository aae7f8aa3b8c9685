// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Authority} from "../../src/Authority.sol";
import {DemoCurrency} from "../../src/dev/DemoCurrency.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {AccountWord} from "../../src/types/AccountWord.sol";
import {VM} from "../base/Vm.sol";
import {LedgerHarness} from "./LedgerHarness.sol";

/// @title LedgerProof: the real ledger with any accounts, for proofs
/// @dev This contract is the ledger's settler and its energy token. The interval is a power of two,
/// because a solver divides by it; no proof depends on its length.
abstract contract LedgerProof {
    /// @dev A row's fields, without its side.
    struct Row {
        address account;
        int64 limit;
        uint48 signedWh;
        uint48 executedWh;
        uint48 shortWh;
        uint48 meteredWh;
        int64 value;
        uint16 trades;
        bytes32 terms;
        bytes32 r;
        bytes32 vs;
    }

    uint64 internal constant INTERVAL_S = 1024;
    uint64 internal constant GENESIS = 1024 * INTERVAL_S;
    uint256 internal constant INDEX = 50; // delivered half a hundred intervals ago
    int64 internal constant PRICE_MIN = -500_000;
    int64 internal constant PRICE_MAX = 1_000_000;
    int64 internal constant SHORTFALL_PRICE_MAX = 900_000;
    int64 internal constant UNDER_USE_PRICE_MIN = -400_000;
    uint48 internal constant METERED_MAX_WH = 1_000_000;
    uint48 internal constant FEE_MAX = 10_000;

    uint256 private constant _ACCOUNTS_SLOT = 3;
    uint256 private constant _TOTALS_SLOT = 4;

    address internal immutable treasury = address(0xFEE);

    DemoCurrency internal currency;
    LedgerHarness internal ledger;

    function setUp() public {
        VM.warp(GENESIS + 100 * INTERVAL_S);
        currency = new DemoCurrency();
        ledger = new LedgerHarness(address(new Authority(address(this))), _terms());
        ledger.setSettler(address(this));
        ledger.setEnergyToken(address(this));
        ledger.setCompliance(address(this), false);
    }

    function _terms() private view returns (IEnergyLedger.Terms memory) {
        return IEnergyLedger.Terms({
            market: "proof",
            intervalS: INTERVAL_S,
            genesis: GENESIS,
            currency: address(currency),
            priceMin: PRICE_MIN,
            priceMax: PRICE_MAX,
            shortfallPriceMax: SHORTFALL_PRICE_MAX,
            underUsePriceMin: UNDER_USE_PRICE_MIN,
            meteredMaxWh: METERED_MAX_WH,
            feeMaxMicroPerKwh: FEE_MAX,
            feeAccount: treasury,
            exitDelayS: 1 days,
            settleWithinS: type(uint32).max
        });
    }

    /// @dev Make the account's word what the proof says, whatever it is.
    function _put(address account, AccountWord word) internal {
        bytes32 slot = keccak256(abi.encode(account, _ACCOUNTS_SLOT));
        VM.store(address(ledger), slot, bytes32(AccountWord.unwrap(word)));
    }

    function _putTotals(uint40 feesMicro, uint40 energyWh) internal {
        uint256 word = uint160(address(this)) | uint256(feesMicro) << 176 | uint256(energyWh) << 216;
        VM.store(address(ledger), bytes32(_TOTALS_SLOT), bytes32(word));
    }

    function _wordOf(address account) internal view returns (AccountWord) {
        bytes32 slot = keccak256(abi.encode(account, _ACCOUNTS_SLOT));
        return AccountWord.wrap(uint256(VM.load(address(ledger), slot)));
    }

    function _pack(Row calldata row, uint8 side) internal pure returns (bytes memory) {
        return bytes.concat(
            abi.encodePacked(row.account, side, row.limit, row.signedWh, row.executedWh),
            abi.encodePacked(row.shortWh, row.meteredWh, row.value, row.trades),
            abi.encodePacked(row.terms, row.r, row.vs)
        );
    }

    function _tryCall(bytes memory call) internal returns (bool done) {
        (done,) = address(ledger).call(call);
    }

    /// @dev What "used" means (I5): used in the window, or behind it.
    function _isUsed(AccountWord word, uint256 index) internal pure returns (bool) {
        uint256 latest = word.latestInterval();
        if (index > latest) return false;
        return latest - index >= 96 || word.usedIntervals() & (1 << latest - index) != 0;
    }

    function _startOf(uint256 index) internal pure returns (uint64) {
        return uint64(GENESIS + index * INTERVAL_S);
    }
}
